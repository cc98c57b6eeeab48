"""What came out: results read and compared with the truth, the contact sheet, the results page."""

"""Results: reading them and comparing them with the expected ones, the contact sheet, the results page."""

"""Results: reading them and comparing them with the expected ones, and the contact sheet."""

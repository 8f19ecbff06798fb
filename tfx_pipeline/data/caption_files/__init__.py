"""Readers of caption files: a module for each form, `forms` for the table of them."""

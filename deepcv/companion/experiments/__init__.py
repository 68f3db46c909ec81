"""One module for each table and figure."""

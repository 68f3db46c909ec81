"""A module for each table and figure: `Settings` says what to run, `run` gives rows, `summary` and `plot` show them."""

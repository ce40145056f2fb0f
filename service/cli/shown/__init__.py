"""What commands print: tables, progress, runs."""

"""What rows come in: packed text, delimited text, tables; each gives its rows as they are."""

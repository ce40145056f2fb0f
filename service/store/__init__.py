"""The database, and what is kept beside it."""

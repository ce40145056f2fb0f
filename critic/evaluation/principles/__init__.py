"""A constitution under test, by votes that are stored already: what each principle does, and what it adds. No calls."""

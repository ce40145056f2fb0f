"""What is shared with people: the command ``cai`` for now; the HTTP service comes here."""

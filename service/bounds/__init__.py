"""What one client may cost: bytes, threads, turns, lines of a log."""

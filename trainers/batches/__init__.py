"""Rows to batches: what is read of a file, encoded, packed or padded, and proven."""

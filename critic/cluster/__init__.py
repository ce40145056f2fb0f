"""One run on a Ray cluster."""

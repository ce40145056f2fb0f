"""Formats of labelling tools, and of labels."""

"""Labelling projects: what they ask, of whom, and how far they are."""

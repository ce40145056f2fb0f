"""Whose opinions they are: groups kept apart, found from votes, and brought together only by a way that has a name."""

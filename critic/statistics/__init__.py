"""Figures of a run, with intervals: pure arithmetic over rows, in memory that does not grow with them."""

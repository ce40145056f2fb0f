"""A run as a data set card and as a report."""

"""Routes of those who run projects: figures of labels, decisions, items and their stories."""

"""Measure judges, people's labels and models: against each other, by choices, and under planted text."""

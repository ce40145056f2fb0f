"""Servers that answer typed questions with probabilities."""

"""Formats of training tools."""

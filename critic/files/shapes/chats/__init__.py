"""Shapes whose rows are chats."""

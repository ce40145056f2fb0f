"""Figures of policies against each other: win rates without length, strengths of many, and the gap that hacking opens."""

"""Figures of policies against each other: wins without length, strengths of many, the gap that hacking opens."""

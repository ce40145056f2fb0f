"""Few human labels beside many of a judge's: what is gathered of both, figures from them, plans, and what to label."""

"""Who asks, what a key may do, and for how long it is known."""

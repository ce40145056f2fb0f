"""Training methods, one file each: `METHOD` in it says all that others need to know. See `trainers.catalogue`."""

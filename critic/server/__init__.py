"""Speaking to servers: what one can do, how it is asked, what its replies and its faults mean."""

"""What can be said of people who label: how often each is right, whether that changes, and whose labels say nothing."""

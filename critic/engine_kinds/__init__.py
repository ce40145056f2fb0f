"""What is known of a kind of engine before one is opened."""

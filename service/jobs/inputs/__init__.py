"""What jobs read, and the files that they leave."""

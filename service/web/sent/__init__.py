"""What a browser sends, read in time that grows with its length, and with turns for others in between."""

"""What measurements of people's labels can be asked for: each setting once."""

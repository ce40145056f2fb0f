"""What a run keeps in its folder, and what it writes there at its end."""

"""The server's process and its connections."""

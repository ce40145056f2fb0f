"""Commands of a server, and commands that speak to one."""

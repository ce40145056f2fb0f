"""What commands, requests and jobs can be asked for: each setting in one place, with its help, bounds and default."""

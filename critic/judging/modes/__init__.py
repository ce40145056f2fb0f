"""Judge modes, one file each."""

"""What `cai train` and `cai align` do once PyTorch is there, and the configs that are shipped."""

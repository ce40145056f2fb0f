"""What a training run leaves in its folder."""

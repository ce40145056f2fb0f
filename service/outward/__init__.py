"""What the outside gets to see of the service: figures for Prometheus, and messages without addresses and paths."""

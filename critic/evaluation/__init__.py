"""Measurements of a judge. Pure functions over engines and modes; the commands are in `service.cli.measure`."""

"""Measurements of a judge. Pure functions over engines and modes; the command line is in `service.cli.evaluate`."""

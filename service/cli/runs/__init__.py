"""What the commands of runs share; they themselves are in `service.cli.commands.runs`."""

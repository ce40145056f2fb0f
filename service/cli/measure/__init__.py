"""`cai evaluate`: what its subcommands share; they themselves are in `service.cli.commands.evidence.evaluate`."""

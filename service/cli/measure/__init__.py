"""`cai evaluate`: what its subcommands share; they themselves are in `commands/`, one file each."""

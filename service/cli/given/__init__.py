"""What commands are given: options, config files, where things lie."""

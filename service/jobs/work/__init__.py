"""One job as a worker holds it: its ledger, its lives, its child process."""

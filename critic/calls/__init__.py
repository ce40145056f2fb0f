"""What stands around every engine: the ledger, retries, rate, concurrency, and whose fault a failure is."""

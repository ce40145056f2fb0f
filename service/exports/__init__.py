"""Labels and runs put together for others: data sets, formats' offers, the hub."""

"""`cai evaluate`: one file a measurement."""

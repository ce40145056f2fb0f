"""A run directory: what goes in (`inputs`), what is kept (`store`), what comes out (`export`, `report`)."""

"""What is kept beside the database: synced before a row points to it, and swept when nothing does."""

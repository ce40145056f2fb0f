"""Routes of jobs, of what they read and of the models that they train."""

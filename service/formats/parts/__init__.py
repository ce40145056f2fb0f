"""What several formats share, and pieces of one."""

"""What jobs do that take more than a call: runs of rows, here or on a cluster, and commands in child processes."""

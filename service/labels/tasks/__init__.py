"""What is asked of annotators: items, leases, order, practice, drafts, answers."""

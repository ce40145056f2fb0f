"""What training made of a policy: its answers before and after, measured on prompts that it did not learn from."""

"""What everything stands on: errors, digests, seeds, things done side by side. It imports none of ours."""

"""Jobs: submitted by forms that their requests make, and followed."""

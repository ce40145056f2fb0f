"""What a judge shows beside its accuracy: leanings that people don't have, and how its doubts can be mended."""

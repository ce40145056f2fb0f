"""A chat as token ids: the model's own template, its options, its thoughts, and where its turns end."""

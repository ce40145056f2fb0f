"""Trees of chats through a model: packed, plain and decoded."""

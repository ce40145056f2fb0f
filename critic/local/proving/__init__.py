"""The proof at opening: each way of computing a model against the model's own."""

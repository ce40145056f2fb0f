"""Advantages and losses of policy gradients, as pure functions."""

"""Rewards for trainers elsewhere."""

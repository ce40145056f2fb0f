"""Rows to weights: SFT, reward model, DPO and PPO come here. They read a run's exports and never import `service`."""

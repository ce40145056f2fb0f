"""Rows to weights: SFT, reward model, DPO and PPO come here. They read a run's exports and never import `service`."""

import logging

# PEFT imports bitsandbytes where it is installed, which then warns of a faster kernel that isn't: in every training.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

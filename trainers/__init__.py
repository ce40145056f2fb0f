"""From rows or prompts to weights, by one of `trainers.methods`. They read exports of runs, and import no service."""

import logging

# PEFT imports bitsandbytes where it is installed, which then warns of a faster kernel that isn't: in every training.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

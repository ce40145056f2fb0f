"""The chain in one command: principles and prompts in, a trained policy and a report of before and after out.

Read `chain.py` first: one stage a function, in order.
"""

import trainers  # noqa: F401  # before transformers' trainer, whose imports it keeps from warning of what is no fault

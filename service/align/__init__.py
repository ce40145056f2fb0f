"""The chain in one command: principles and prompts in, a trained policy and a report of before and after out.

Read `chain.py` first: one stage a function, in order.
"""

"""The alignment tax's questions for other harnesses: an lm-eval task and an inspect_ai task with its scorer.

Both read a folder in MMLU's form as `cai evaluate policy --choices` does, in the same words and with the same shots.
Each needs its harness, which has an environment of its own (`make harnesses`).
"""

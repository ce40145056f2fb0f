"""Rewards of answers: what a reward model or a rule gives, a judge's scores, or how a judge compares siblings."""

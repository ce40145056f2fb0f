"""Imported last by the fork server of `tests.warm`: what it has loaded stays, and no fork looks through it again."""

import gc

gc.collect()
gc.freeze()

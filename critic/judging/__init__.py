"""Judging: a comparison and its principles to votes, and votes to one probability a group.

A new mode is one new file with a class like `critic.judging.base.Mode`, and one line in `MODES`.
"""

from critic.judging.base import Mode
from critic.judging.contrast import Contrast
from critic.judging.logprob import Logprob

MODES: dict[str, Mode] = {mode.name: mode for mode in (Logprob(), Contrast())}

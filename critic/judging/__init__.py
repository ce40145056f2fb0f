"""Judging: a comparison and its principles to votes, and votes to one probability a group.

A new mode is one new file with a class like `critic.judging.base.Mode`, and one line in `MODES`.
"""

from constitution.errors import InputError
from critic.engines import Spec
from critic.judging.base import Mode
from critic.judging.contrast import Contrast
from critic.judging.logprob import Logprob

MODES: dict[str, Mode] = {mode.name: mode for mode in (Logprob(), Contrast())}


def mode_of(name: str | None, judge: Spec) -> Mode:
    """Return the mode of that name, or without one the judge's: a small model's multiple choice says "first"."""
    chosen = name or ("contrast" if judge.kind == "embedded" else "logprob")
    if chosen not in MODES:
        raise InputError(f"there is no judge mode {chosen!r}", where="--mode", fix=f"Known modes: {', '.join(MODES)}")
    return MODES[chosen]

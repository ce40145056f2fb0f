"""Judging: a comparison and its principles to votes, and votes to one probability a group.

A new mode is one new file with a class like `critic.judging.base.Mode`, and one line in `MODES`. A spec names a mode
with its options: ``cot?samples=4&low=0.3``.
"""

from pydantic import ValidationError

from constitution.errors import InputError
from critic.engines import REWARDING, Spec, parse_options
from critic.judging.base import Mode
from critic.judging.contrast import Contrast
from critic.judging.cot import Cot
from critic.judging.logprob import Logprob
from critic.judging.rm import Rm
from critic.judging.score import ScoreMode
from critic.judging.verdict import VerdictMode

MODES: dict[str, type[Mode]] = {mode.name: mode for mode in (Logprob, Contrast, Cot, VerdictMode, ScoreMode, Rm)}

# What a judge's engine is asked in, where nothing else is said. A small model's multiple choice says "first".
_DEFAULTS = {"embedded": "contrast", "rm": "rm", "verify": "rm"}


def mode_of(text: str | None, judge: Spec) -> Mode:
    """Return the mode of a spec such as ``cot?samples=4``, or the default of the judge's engine."""
    name, question, query = (text or _DEFAULTS.get(judge.kind, "logprob")).partition("?")
    if name not in MODES:
        raise InputError(f"there is no judge mode {name!r}", where="--mode", fix=f"Known modes: {', '.join(MODES)}")
    if (name == "rm") != (judge.kind in REWARDING):
        raise InputError(
            f"the judge {judge} can't be asked in mode {name}",
            where="--mode",
            fix="Reward models and verify rules answer the mode rm, and nothing else does.",
        )
    options = dict(parse_options(query, f"mode {text!r}")) if question else {}
    try:
        return MODES[name].model_validate(options)
    except ValidationError as error:
        fault = error.errors()[0]
        known = ", ".join(MODES[name].model_fields) or "none"
        option = ".".join(map(str, fault["loc"]))
        problem = f"{option}: {fault['msg']}" if option else fault["msg"].removeprefix("Value error, ")
        raise InputError(problem, where=f"mode {text!r}", fix=f"Options of {name}: {known}") from None

"""Judging: a comparison and its principles to votes, and votes to one probability a group.

A new mode is one new file with a class like `critic.judging.base.Mode`, and one line in `MODES`. A spec names a mode
with its options: ``cot?samples=4&low=0.3``.
"""

from pydantic import ValidationError

from constitution.errors import InputError
from critic.engines import REGISTRY, Spec, parse_options
from critic.judging.base import Mode
from critic.judging.contrast import Contrast
from critic.judging.cot import Cot
from critic.judging.decision import DecisionMode
from critic.judging.logprob import Logprob
from critic.judging.rm import Rm
from critic.judging.score import ScoreMode
from critic.judging.verdict import VerdictMode

MODES: dict[str, type[Mode]] = {
    mode.name: mode for mode in (Logprob, Contrast, Cot, VerdictMode, ScoreMode, Rm, DecisionMode)
}


def mode_of(text: str | None, judge: Spec) -> Mode:
    """Return the mode of a spec such as ``cot?samples=4``, or the default of the judge's engine."""
    name, question, query = (text or REGISTRY[judge.kind].mode).partition("?")
    if name not in MODES:
        raise InputError(f"there is no judge mode {name!r}", where="--mode", fix=f"Known modes: {', '.join(MODES)}")
    if MODES[name].reads != judge.gives:
        fitting = ", ".join(mode.name for mode in MODES.values() if mode.reads == judge.gives)
        raise InputError(
            f"the judge {judge} gives {judge.gives}, and can't be asked in mode {name}, which reads "
            f"{MODES[name].reads}",
            where="--mode",
            fix=f"It can be asked in: {fitting}.",
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

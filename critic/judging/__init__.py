"""Judging: a comparison and its principles to votes, and votes to one probability a group.

A new mode is one new file in `critic.judging.modes`. A spec names a mode
with its options: ``cot?samples=4&low=0.3``.
"""

import math
from collections.abc import Iterator

from pydantic import ValidationError

from base.errors import InputError
from base.nearest import nearest
from critic.engine import Choices, Decision, Engine, EngineError, Lane, Node, reads
from critic.engine_kinds.capabilities import DECISIONS, LOGPROBS
from critic.engine_kinds.kind import Gives
from critic.engines import Spec, kinds, parse_options
from critic.judging.base import Mode, SampledMode, mass_of
from critic.judging.modes import MODES
from critic.local.rewards import heads_of


def offered(mode: Mode, engine: Engine) -> Mode:
    """Return ``mode`` if ``engine`` is not known to lack what it needs; an `InputError` names modes that work there."""
    lacking = mode.lacks(engine.capabilities)
    if lacking is not None:
        raise InputError(
            f"{engine.identity.name} offers no {lacking}, which the mode {mode.name} needs",
            where="--mode",
            fix=f"Modes that work there: {', '.join(working(engine))}.",
        )
    return mode


async def settled(mode: Mode, engine: Engine, lane: Lane = "batch") -> tuple[Mode, float | None]:
    """Try ``engine`` on a page of ``mode``'s kind: return the mode as it suits it, and the label mass found.

    One read, and none for modes that read no choices and for engines that are no models (None then). Raises
    `InputError` where the engine lacks what the mode needs, and where too little is on the choices for any vote to be
    read. What can't be tried is left to the rows.
    """
    page = offered(mode, engine).page(engine)
    if page is None or LOGPROBS not in engine.capabilities:
        return mode, None
    try:
        [score] = await engine.score(page, lane)
    except EngineError:
        return offered(mode, engine), None  # a server may have told just now what it lacks
    if any(math.isnan(value) for value in score.values):
        return mode, None
    mass = mass_of(score)
    suited = mode.settled(mass)
    if suited is None:
        named = f"{', '.join(_choices(page))} together, which {mode.name} reads"
        puts = f"{engine.identity.name} puts {mass:.2g} on {named}"
        if mode.reads != "text":
            fix = "Name another model: what this one says of the answers among themselves is noise in its tail."
            raise InputError(puts, where="--judge", fix=fix)
        raise InputError(
            f"{puts}; it seems to think first",
            where="--judge",
            fix=f"Add ?think=false to its spec, or use a mode in which it writes: {', '.join(_writing(engine))}.",
        )
    return suited, mass


def working(engine: Engine) -> list[str]:
    """The modes that ``engine`` is not known to lack anything for."""
    gives = _gives(engine)
    return [m.name for m in MODES.values() if m.reads == gives and m.lacks(engine.capabilities) is None]


def _gives(engine: Engine) -> Gives:
    if DECISIONS in engine.capabilities:
        return "decisions"
    return "rewards" if heads_of(engine.capabilities) else "text"


def _choices(page: Node) -> Iterator[str]:
    for _, read, _ in reads(page):
        if isinstance(read, Choices):
            yield from read.texts
        if isinstance(read, Decision):
            yield from (option.name for option in read.options) if read.options else ("yes", "no")


def _writing(engine: Engine) -> list[str]:
    """The modes in which a judge writes, so that it may think first."""
    return [name for name in working(engine) if issubclass(MODES[name], SampledMode)]


def mode_of(text: str | None, judge: Spec) -> Mode:
    """Return the mode of a spec such as ``cot?samples=4``, or the default of the judge's engine."""
    name, question, query = (text or kinds()[judge.kind].mode).partition("?")
    if name not in MODES:
        near = nearest(name, MODES)
        problem = f"there is no judge mode {name!r}" + (f"; did you mean {near!r}?" if near else "")
        raise InputError(problem, where="--mode", fix=f"Known modes: {', '.join(MODES)}")
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
        if fault["type"] == "extra_forbidden":
            near = nearest(option, MODES[name].model_fields)
            problem = f"there is no option {option!r}" + (f"; did you mean {near!r}?" if near else "")
        raise InputError(problem, where=f"mode {text!r}", fix=f"Options of {name}: {known}") from None

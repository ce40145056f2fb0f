"""What is found out of a run's engines when they are open, before its first row: whether they can do their part.

Each judge is tried on one page of its mode's kind. A model that puts nothing on the letters is refused here, with what
works instead, and not after a million votes.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from base.errors import InputError
from base.together import together
from critic.engine import Engine, RunStopped
from critic.engine_kinds.capabilities import LABEL_MASS
from critic.engines import Spec
from critic.judging import settled
from critic.judging.base import Mode

Seats = tuple[tuple[Spec, Mode], ...]
Capabilities = dict[str, dict[str, str]]


class Settled(NamedTuple):
    """The judges' modes as their engines can do them, and what each engine was found to be able to do."""

    seats: Seats
    capabilities: Capabilities


async def settle(seats: Seats, engines: Mapping[Spec, Engine]) -> Settled:
    """Try every judge. Raises `InputError` where one lacks what its mode needs, or can't be reached."""
    suited = await together(_seat(spec, mode, engines[spec]) for spec, mode in seats)
    capabilities = {engine.identity.name: dict(engine.capabilities) for engine in engines.values()}
    for (spec, _), (mode, mass) in zip(seats, suited, strict=True):
        if mass is not None:
            capabilities[engines[spec].identity.name][f"{LABEL_MASS}, {mode.name}"] = f"{mass:.3g}"
    return Settled(tuple((spec, mode) for (spec, _), (mode, _) in zip(seats, suited, strict=True)), capabilities)


def learnt(settled: Capabilities, engines: Iterable[Engine]) -> Capabilities:
    """Return what was found when the engines were ``settled``, with what has been learnt of them since."""
    now = {engine.identity.name: dict(engine.capabilities) for engine in engines}
    return {name: before | now.get(name, {}) for name, before in settled.items()}


async def _seat(spec: Spec, mode: Mode, engine: Engine) -> tuple[Mode, float | None]:
    try:
        return await settled(mode, engine)
    except RunStopped as error:
        raise InputError(str(error), where=str(spec)) from None

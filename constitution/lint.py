"""Faults of style in a constitution: it works, but will judge worse, cost more or surprise someone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from constitution.schema import Constitution, Principle

MAX_WORDS = 60
MAX_WEIGHT_RATIO = 10
_INSTRUCTIONS = ("statement", "critique", "revision", "compare")
_CHOOSES = re.compile(r"\b(which|choose|choice|pick|select|prefer|compare|better|best)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Remark:
    """``where`` is a principle's id, with the field if it is about one, or empty for the whole file."""

    where: str
    problem: str


def lint(constitution: Constitution) -> tuple[Remark, ...]:
    """Return what deserves a second look. Nothing here is an error."""
    remarks = [w for p in constitution.principles for w in _principle(p, constitution.language)]
    return (*remarks, *_opposites(constitution), *_duplicates(constitution), *_weights(constitution))


def _principle(principle: Principle, language: str) -> Iterator[Remark]:
    for field in _INSTRUCTIONS:
        count = len(getattr(principle, field).split())
        if count > MAX_WORDS:
            problem = f"{count} words; a judge reads this for every comparison, so keep it within {MAX_WORDS}"
            yield Remark(f"{principle.id}.{field}", problem)
    if language.lower().startswith("en") and not _CHOOSES.search(principle.compare):
        yield Remark(f"{principle.id}.compare", "doesn't ask to choose; begin with `Which response ...`")


def _opposites(constitution: Constitution) -> Iterator[Remark]:
    missing = [p.id for p in constitution.principles if p.opposite is None]
    if missing:
        names = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        yield Remark("", f"no `opposite` in {names}: judge mode `contrast` has only the bare prompt to compare with")


def _duplicates(constitution: Constitution) -> Iterator[Remark]:
    """The same words twice, in two principles or in two fields of one: that thought counts double."""
    first: dict[str, str] = {}
    for principle in constitution.principles:
        for field in (*_INSTRUCTIONS, "opposite"):
            where, text = f"{principle.id}.{field}", getattr(principle, field)
            if text is None:
                continue
            key = " ".join(re.findall(r"\w+", text.lower())) + (principle.group.id if principle.group else "")
            if key in first:
                yield Remark(where, f"the same wording as {first[key]}")
            first.setdefault(key, where)


def _weights(constitution: Constitution) -> Iterator[Remark]:
    """Weights are compared within a priority, where alone they are added up."""
    for priority in sorted({p.priority for p in constitution.principles}):
        ranked = sorted((p for p in constitution.principles if p.priority == priority), key=lambda p: p.weight)
        low, high = ranked[0], ranked[-1]
        if high.weight > MAX_WEIGHT_RATIO * low.weight:
            ratio = f"{high.weight / low.weight:.3g}"
            yield Remark("", f"{high.id} weighs {ratio} times as much as {low.id}, which will hardly ever count")

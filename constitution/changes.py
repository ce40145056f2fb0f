"""What changed between two constitutions, word by word, and which stored votes that leaves without a principle."""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from constitution.schema import READ_BY_MODELS, Constitution, Example, Group, Include, Principle

_DECIDES = ("weight", "priority", "group", "tags", "applies_to")
_HEADER = ("name", "title", "summary", "license", "language", "preamble", "includes")

MOST_CELLS = 1_000_000
"""Of the table of words of two texts, whose size is the product of their lengths. Larger ones take seconds: of those
what begins and ends alike is left out, then lines are compared, and lines that were replaced are shown as they are."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A run of words that both texts have (``same``), or only the old (``removed``) or the new one (``added``)."""

    op: Literal["same", "removed", "added"]
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """One field's old and new text (empty where it had none), and the edits that lead from one to the other."""

    field: str
    before: str
    after: str

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The shortest word-level story; old words come before the new ones that replace them."""
        return words(self.before, self.after)


@dataclass(frozen=True, slots=True)
class Changed:
    """A principle that both have, with the fields that differ."""

    id: str
    fields: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Diff:
    """From ``a`` to ``b``. A principle may be both reworded and reweighted.

    ``reworded``: a model reads something else of it, so its votes are stale. ``reweighted``: weight, priority, group,
    tags or applies_to differ, which costs no vote. ``header`` holds what differs outside the principles.
    ``stale_digests`` are the digests of principles of ``a`` that ``b`` doesn't have.
    """

    a: Constitution
    b: Constitution
    header: tuple[Change, ...]
    added: tuple[Principle, ...]
    removed: tuple[Principle, ...]
    reworded: tuple[Changed, ...]
    reweighted: tuple[Changed, ...]
    unchanged: tuple[str, ...]
    stale_digests: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs but, at most, the version number."""
        return not (self.header or self.added or self.removed or self.reworded or self.reweighted)


def diff(a: Constitution, b: Constitution) -> Diff:
    """Compare two loaded constitutions. Principles are matched by id; their order plays no part."""
    old = {p.id: p for p in a.principles}
    new = {p.id: p for p in b.principles}
    both = [(old[id], new[id]) for id in old if id in new]
    reworded = [_changed(p, q, READ_BY_MODELS) for p, q in both]
    reweighted = [_changed(p, q, _DECIDES) for p, q in both]
    digests = {p.digest for p in b.principles}
    added = tuple(p for p in b.principles if p.id not in old)
    removed = tuple(p for p in a.principles if p.id not in new)
    unchanged = tuple(c.id for c, d in zip(reworded, reweighted, strict=True) if not c.fields and not d.fields)
    stale_digests = tuple(p.digest for p in a.principles if p.digest not in digests)
    with_words = tuple(c for c in reworded if c.fields)
    return Diff(
        a=a,
        b=b,
        header=_changes(a, b, _HEADER),
        added=added,
        removed=removed,
        reworded=with_words,
        reweighted=tuple(c for c in reweighted if c.fields),
        unchanged=unchanged,
        stale_digests=stale_digests,
    )


def words(before: str, after: str) -> tuple[Edit, ...]:
    """Compare two texts word by word, white space included, so that the parts join to either text again.

    White space alone doesn't keep two changes apart: they read as one. Long texts are compared as `MOST_CELLS` says.
    """
    old, new = re.findall(r"\s+|\S+", before), re.findall(r"\s+|\S+", after)
    edits: list[Edit] = []
    removed = added = ""
    for is_same, was, now in _runs(old, new):
        if is_same and (was.strip() or not (removed and added)):
            edits += _replacement(removed, added)
            if was:
                edits.append(Edit("same", was))
            removed = added = ""
        else:
            removed, added = removed + was, added + now
    return tuple(edits + _replacement(removed, added))


Run = tuple[bool, str, str]
"""Whether a run of words stayed, what it was, and what it is now."""


def _runs(old: Sequence[str], new: Sequence[str]) -> Iterator[Run]:
    if len(old) * len(new) <= MOST_CELLS:
        yield from _matched(old, new)
        return
    head = _alike(old, new)
    tail = _alike(old[head:][::-1], new[head:][::-1])
    ends = len(old) - tail, len(new) - tail
    yield True, "".join(old[:head]), "".join(new[:head])
    middle = old[head : ends[0]], new[head : ends[1]]
    if len(middle[0]) * len(middle[1]) <= MOST_CELLS:
        yield from _matched(*middle)
    else:
        lines = ["".join(words).splitlines(keepends=True) for words in middle]
        if len(lines[0]) * len(lines[1]) <= MOST_CELLS:
            yield from _matched(*lines)
        else:
            yield False, "".join(middle[0]), "".join(middle[1])
    yield True, "".join(old[ends[0] :]), "".join(new[ends[1] :])


def _matched(old: Sequence[str], new: Sequence[str]) -> Iterator[Run]:
    for op, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        yield op == "equal", "".join(old[i:j]), "".join(new[k:m])


def _alike(old: Sequence[str], new: Sequence[str]) -> int:
    """How many words two texts begin with alike."""
    count = 0
    for was, now in zip(old, new, strict=False):
        if was != now:
            break
        count += 1
    return count


def _replacement(removed: str, added: str) -> list[Edit]:
    return [edit for edit in (Edit("removed", removed), Edit("added", added)) if edit.text]


def _changed(p: Principle, q: Principle, fields: tuple[str, ...]) -> Changed:
    return Changed(p.id, _changes(p, q, fields))


def _changes(x: Constitution | Principle, y: Constitution | Principle, fields: tuple[str, ...]) -> tuple[Change, ...]:
    pairs = [(field, getattr(x, field), getattr(y, field)) for field in fields]
    return tuple(Change(field, _text(v), _text(w)) for field, v, w in pairs if v != w)


def _text(value: Any) -> str:
    """What a person reads of a field."""
    match value:
        case None:
            return ""
        case tuple():
            return ("\n\n" if any(isinstance(v, Example) for v in value) else ", ").join(map(_text, value))
        case Example():
            turns = [(turn.role, turn.content) for turn in value.history]
            parts = [(name, getattr(value, name)) for name in ("prompt", "response", "critique", "revision")]
            return "\n".join(f"{name}: {text}" for name, text in [*turns, *parts])
        case Include():
            return value.ref + (f" (priority {value.priority})" if value.priority else "")
        case Group():
            return f"{value.id} ({value.agrees} agree, {value.disagrees} disagree, {value.passes} pass)"
        case float():
            return f"{value:g}"
        case _:
            return str(value)

"""The page of a constitution's test."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from critic.evaluation.principles.findings import Findings, sentences
from critic.evaluation.principles.influence import ComparisonPlace
from critic.evaluation.principles.redundancy import Relation
from critic.pages.heat import HeatMap
from critic.pages.page import Picture, page
from critic.pages.scales import percent, shares
from critic.pages.strips import Dot, Series, Strips
from critic.statistics.intervals import Figure, few

SHOWN = 20  # places
SHOWN_PAIRS = 8  # of principles, beside those that stand out


class Flip(Protocol):
    """A judgement that a change flips."""

    @property
    def row(self) -> int:
        """Its row in the input."""
        ...

    @property
    def where(self) -> str:
        """Its place in the input, for people."""
        ...


class RunChange(Protocol):
    """What another version, or other weights, would make of the run."""

    @property
    def name(self) -> str:
        """What is changed."""
        ...

    @property
    def stays(self) -> int:
        """How many judgements stay."""
        ...

    @property
    def flips(self) -> Sequence[Flip]:
        """Those that flip."""
        ...

    @property
    def may_flip(self) -> Sequence[Flip]:
        """Those that may, with votes that are not there."""
        ...


def report(tested: Findings, changes: Sequence[RunChange], broken: Sequence[str]) -> str:
    """Return the page, with what ``changes`` would flip and the limits that are ``broken``."""
    return page(
        "critic.evaluation.principles",
        "report.html.j2",
        f"{tested.constitution} under test",
        dict(_pictures(tested)),
        tested=tested,
        sentences=sentences(tested),
        broken=broken,
        changes=changes,
        tiles=list(_tiles(tested)),
        shown=_standing_out(tested.relations) if _is_known(tested) else [],
        silent=_first(tested.coverage.places),
        percent=percent,
    )


def _is_known(tested: Findings) -> bool:
    """Whether it rests on so many prompts that anything can be said."""
    return not few(tested.prompts, "prompt")


def _first(places: Sequence[ComparisonPlace]) -> Sequence[ComparisonPlace]:
    return places[:SHOWN]


def _standing_out(relations: Iterable[Relation]) -> list[Relation]:
    """Duplicates and contradictions first, then the nearest to either."""
    order = sorted(relations, key=lambda r: (not (r.is_duplicate or r.is_contradiction), -abs(r.correlation)))
    told = sum(r.is_duplicate or r.is_contradiction for r in order)
    return order[: told + SHOWN_PAIRS]


def _tiles(tested: Findings) -> Iterator[tuple[str, str, str]]:
    yield "principles", str(len(tested.influences)), f"{sum(one.read > 0 for one in tested.influences)} with votes"
    is_known = _is_known(tested)
    yield "duplicates", str(len(tested.duplicates)) if is_known else "-", "pairs that say the same"
    yield "contradictions", str(len(tested.contradictions)) if is_known else "-", "pairs that pull apart"
    yield "ambiguous", str(len(tested.ambiguous)) if not tested.no_ambiguity else "-", "clauses read differently"
    silent = tested.coverage.silent
    if silent is not None and not silent.is_of_few:
        yield "silent", percent(silent.estimate), f"of comparisons: {percent(silent.low)} to {percent(silent.high)}"


def _pictures(tested: Findings) -> Iterator[tuple[str, Picture]]:
    read = [one for one in tested.influences if one.read and _is_known(tested)]
    if read:
        decides = {one.principle: (one.decides, one.flips) for one in read}
        yield "influence", _strips(decides, ("decides", "flips"), "share of comparisons")
        speaks = {one.principle: (one.speaks, one.with_outcome) for one in read}
        yield "speech", _strips(speaks, ("speaks", "is followed"), "share of comparisons")
    if tested.ambiguities:
        above = {one.principle: (one.above,) for one in tested.ambiguities}
        yield "ambiguity", _strips(above, ("above the others",), "share of comparisons", 0.5)
    if len(read) > 1 and tested.relations:
        yield "agreement", _heat([one.principle for one in read], tested.relations)


def _strips(
    named: Mapping[str, Sequence[Figure | None]], kinds: Sequence[str], axis: str, middle: float | None = None
) -> Strips:
    looks = (Series(kinds[0], "accent"), *(Series(kind, "rejected", diamond=True) for kind in kinds[1:]))
    rows = tuple((name, tuple(map(_dot, figures))) for name, figures in named.items())
    return Strips(rows, looks, shares(axis), middle)


def _dot(figure: Figure | None) -> Dot | None:
    return None if figure is None or figure.is_of_few else Dot(figure.estimate, figure.low, figure.high, figure.n)


def _heat(names: Sequence[str], relations: Iterable[Relation]) -> HeatMap:
    places = {name: place for place, name in enumerate(names)}
    alike = [[0.0] * len(names) for _ in names]
    counts = [[0] * len(names) for _ in names]
    for relation in relations:
        i, j = places.get(relation.one), places.get(relation.other)
        if i is None or j is None:
            continue
        for a, b in ((i, j), (j, i)):
            alike[a][b], counts[a][b] = relation.alike.estimate, relation.alike.n
    for place in range(len(names)):
        counts[place][place] = max(counts[place])
    return HeatMap.of(names, alike, counts)

"""A judge's report as a page: what a person looks at before they let it label."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from critic.evaluation.trust.asking import JudgeAnswer
from critic.evaluation.trust.figures import Part, TrustFigures
from critic.pages.page import Picture, page
from critic.pages.plots import Curves, PlotLine
from critic.pages.scales import shares
from critic.pages.strips import Dot, Series, Strips
from critic.statistics.intervals import Figure, few
from critic.statistics.judges.leanings import Leaning
from critic.statistics.judges.maps import Isotonic, Temperature
from critic.statistics.reliability.coefficient import FEWEST

NOTES = {
    "accuracy": "prefers the answer that most people prefer; people's ties are left out",
    "kappa": "the same, corrected for chance",
    "human_agreement": "one person prefers what most of the others do: the ceiling",
    "human_kappa": "the same, corrected for chance",
    "length_controlled_accuracy": "as if longer answers were better as often as shorter ones",
    "same_position": "votes that favour the same position of the page in both orders",
    "label_mass": "probability on any of the choices",
    "low_mass": "votes with less than half of the probability on the choices",
    "retest_spread": "how far the probability moves when it is asked again",
    "calibration_error": "mean distance of probability and people's share",
    "calibration_error_temperature": "the same, after a temperature that was fitted on other prompts",
    "calibration_error_isotonic": "the same, after a rising map that was fitted on other prompts",
}


def judge_page(title: str, lead: str, figures: TrustFigures, extra: Mapping[str, str]) -> str:
    """Return the page. ``extra`` are further lines of its last table: what the figures are bound to."""
    return page(
        "critic.evaluation.trust",
        "judge.html.j2",
        title,
        pictures(figures),
        lead=lead,
        tiles=list(_tiles(figures)),
        notes=list(notes(figures)),
        rows=list(_rows(figures)),
        samples=[_sample(answer) for answer in figures.most_different],
        extra=dict(extra),
    )


def pictures(figures: TrustFigures) -> dict[str, Picture]:
    """Return the pictures by name; those with nothing to show are left out."""
    drawn: dict[str, Picture | None] = {
        "accuracy": _accuracy(figures),
        "leanings": _leanings(figures.leanings),
        "curve": _curve(figures),
        "principles": _parts(figures.principles),
        "groups": _parts(figures.groups),
    }
    return {name: picture for name, picture in drawn.items() if picture is not None}


def _tiles(figures: TrustFigures) -> Iterator[tuple[str, str, str]]:
    yield "items", f"{figures.items:,}", f"{figures.prompts:,} prompts, {figures.unreadable:,} unreadable"
    yield "people", f"{figures.annotators:,}", f"{figures.labels:,} labels, {figures.ties:,} items tied"
    yield "accuracy", *_tile(figures.accuracy)
    yield "human ceiling", *_tile(figures.ceiling.agreement)
    yield "length-controlled", *_tile(figures.length_controlled)
    yield "same position", *_tile(figures.same_position)
    yield "calibration error", *_tile(figures.calibration_error)


def _tile(figure: Figure | None) -> tuple[str, str]:
    if figure is None:
        return "-", "nothing observed"
    if figure.is_of_few:
        return "-", too_few(figure.clusters)
    return f"{100 * figure.estimate:.0f} %", f"{100 * figure.low:.0f} to {100 * figure.high:.0f} %"


def too_few(prompts: int) -> str:
    """What stands in the place of a figure that rests on so few prompts."""
    return f"{prompts} prompt{'' if prompts == 1 else 's'}: too few"


def limits(figure: Figure) -> str:
    """What stands for an interval: a coefficient of agreement has none below `FEWEST` prompts."""
    if (figure.low, figure.high) == (-1, 1):
        return f"fewer than {FEWEST} prompts"
    return f"{figure.low:.3f} to {figure.high:.3f}"


def notes(figures: TrustFigures) -> Iterator[str]:
    """Yield what a reader must know before any figure."""
    if note := few(figures.prompts, "prompt"):
        yield note
    if figures.unreadable == figures.items:
        yield "Nothing that the judge said could be read."
    elif figures.accuracy is None:
        yield "People prefer neither answer of any item that was judged: how often the judge is right is not known."
    for name in figures.faults:
        yield fault(name, figures.leanings[name])
    if figures.ceiling.agreement is None:
        yield "No item was labelled by two people: how far people agree with each other is not known."
    if figures.curve and all(probability == 0.5 for probability, _, _ in figures.curve):
        yield "The judge has even odds on every item that could be read: no map of its probabilities says more."
    elif figures.curve and not figures.mended:
        yield "There are too few labelled prompts to fit a map of the probabilities on some and to test it on others."


def fault(name: str, leaning: Leaning) -> str:
    """Say what a judge leans to that people don't."""
    more = "more" if leaning.excess.estimate > 0 else "less"
    return (
        f"The judge leans to {name} {more} than people do: {leaning.judge.estimate:.0%} of the pairs where the answers "
        f"differ in it, people {leaning.people.estimate:.0%} (p = {leaning.p:.2g})."
    )


def _rows(figures: TrustFigures) -> Iterator[tuple[str, str, str, str, str]]:
    for name, figure in figures.named().items():
        note = NOTES.get(name, "how much more the judge prefers it than people do")
        if figure.is_of_few:
            yield name, "-", too_few(figure.clusters), f"{figure.n:,}", note
            continue
        yield name, f"{figure.estimate:.3f}", limits(figure), f"{figure.n:,}", note


def _accuracy(figures: TrustFigures) -> Strips | None:
    named = {
        "judge and people": figures.accuracy,
        "the same, length-controlled": figures.length_controlled,
        "person and other people": figures.ceiling.agreement,
    }
    rows = tuple((name, (dot,)) for name, figure in named.items() if (dot := _dot(figure)))
    return Strips(rows, (Series("agreement", "accent"),), shares("share of items"), 0.5) if rows else None


def _leanings(leanings: Mapping[str, Leaning]) -> Strips | None:
    rows = tuple(
        (name, (_dot(one.judge), _dot(one.people))) for name, one in leanings.items() if not one.excess.is_of_few
    )
    series = (Series("judge", "accent"), Series("people", "chosen", diamond=True))
    return Strips(rows, series, shares("prefers the answer with more of it"), 0.5) if rows else None


def _curve(figures: TrustFigures) -> Curves | None:
    error = figures.calibration_error
    if len(figures.curve) < 2 or error is None or error.is_of_few:
        return None
    lines = [
        PlotLine("right about itself", ((0.0, 0.0), (1.0, 1.0)), "muted", dashed=True),
        PlotLine("judge", tuple((p, share) for p, share, _ in figures.curve), "accent"),
    ]
    if "temperature" in figures.mended:
        lines.append(
            PlotLine("the temperature's map", _drawn(figures.mended["temperature"].map), "chosen", dashed=True)
        )
    if "isotonic" in figures.mended:
        lines.append(PlotLine("the isotonic map", _drawn(figures.mended["isotonic"].map), "rejected", dashed=True))
    return Curves(tuple(lines), shares("judge's probability"), shares("people's share"))


def _drawn(map: Temperature | Isotonic) -> tuple[tuple[float, float], ...]:
    return tuple((i / 50, map(i / 50)) for i in range(51))


def _parts(parts: Mapping[str, Part]) -> Strips | None:
    rows = tuple((name, (dot,)) for name, part in parts.items() if (dot := _dot(part.accuracy)))
    return Strips(rows, (Series("accuracy", "accent"),), shares("share of items"), 0.5) if rows else None


def _dot(figure: Figure | None) -> Dot | None:
    """A figure of few prompts is a sentence in the table, and no dot."""
    return None if figure is None or figure.is_of_few else Dot(figure.estimate, figure.low, figure.high, figure.n)


def _sample(answer: JudgeAnswer) -> dict[str, Any]:
    item = answer.item
    return {
        "messages": [{"role": message.role, "content": message.text} for message in item.prompt.messages],
        "first": item.first.text,
        "second": item.second.text,
        "judge": answer.probability,
        "people": item.share,
        "said": _counted(list(item.said.values())),
    }


def _counted(values: Sequence[float]) -> str:
    first, tie, second = (values.count(value) for value in (1.0, 0.5, 0.0))
    return f"{first} for the first, {second} for the second, {tie} tied"

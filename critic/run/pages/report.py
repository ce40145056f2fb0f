"""``report.html``: one page with everything in it, to look at a run. It loads nothing and works without a network.

See `critic.pages.page` for what keeps texts from doing anything.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from critic.judging.aggregate import principle_log_odds
from critic.judging.base import FLOOR
from critic.pages.page import page
from critic.records import PreferencePair, Row
from critic.run.folder.results import Results, judgement_of, replace_text
from critic.run.pages.figures import figures
from critic.run.retest import Retest
from critic.statistics.intervals import Figure, Share

NAMED = 4  # principles for and against, by sample

Sample = dict[str, Any]


def write_report(results: Results, directory: Path) -> None:
    """Write ``report.html`` into the run's directory."""
    replace_text(directory / "report.html", report(results))


def report(results: Results) -> str:
    """Return the page."""
    statistics = results.statistics
    return page(
        "critic.run",
        "report.html.j2",
        f"Run under {results.provenance.constitution}",
        figures(results),
        results=results,
        made=results.provenance,
        warnings=results.warnings(),
        statistics=statistics,
        tiles=list(_tiles(results)),
        percent=percent,
        principles=sorted(statistics.principles.items()),
        samples=[sample for row in results.samples for sample in _samples(row)],
        has_positions=statistics.lean.n > 0,
    )


def _tiles(results: Results) -> Iterator[tuple[str, str, str]]:
    """Yield (name, figure, note)."""
    statistics = results.statistics
    yield "prompts", f"{statistics.rows:,}", f"{results.quarantined.total():,} more in quarantine"
    yield "pairs", f"{statistics.pairs:,}", f"of {statistics.outcomes.total():,} comparisons"
    yield "calls", f"{results.calls:,}", f"{statistics.votes:,} votes read"
    if statistics.same_position.n:
        yield "same position", *_tile(statistics.same_position)
    if statistics.longest.n:
        yield "longer preferred", *_tile(statistics.longest)
    yield "unreadable", *_tile(statistics.unreadable)
    if (mass := statistics.mass.figure()) is not None:
        low = percent(statistics.low_mass.figure())
        yield "label mass", f"{mass.estimate:.2g}", f"on any of the choices; {low} of votes below {FLOOR:g}"
    if results.retest is not None:
        yield "retest spread", *_retested(results.retest)


def _retested(retest: Retest) -> tuple[str, str]:
    why = "; ".join(f"{judge}: {why}" for judge, why in retest.varies.items())
    turned = f"{retest.turned:,} of {retest.votes:,} votes turned, {retest.unread:,} read only once"
    spread = "-" if retest.spread is None else f"{retest.spread:.2g}"
    return spread, f"mean difference of log-odds when asked twice; {turned}; answers vary by {why}"


def _tile(share: Share) -> tuple[str, str]:
    figure = share.figure()
    return percent(figure), interval(figure)


def _samples(row: Row) -> Iterator[Sample]:
    """The row's first pair, with the principles that spoke loudest."""
    for pair in row.pairs[:1]:
        yield {
            "row": row.row,
            "messages": [{"role": message.role, "content": message.text} for message in row.prompt.messages],
            "chosen": pair.chosen,
            "rejected": pair.rejected,
            "probability": pair.probability,
            **_voices(row, pair),
        }


def _voices(row: Row, pair: PreferencePair) -> dict[str, Any]:
    """Return the principles for and against the chosen answer, and what a judge that reads none says ``as_a_whole``."""
    judgement = judgement_of(row, pair)
    votes = () if judgement is None else judgement.votes
    sign = 1 if judgement is None or row.candidates[judgement.first].text == pair.chosen.text else -1
    odds = {name: sign * mean for name, mean in principle_log_odds(votes).items() if mean}
    whole = odds.pop(None, None)
    ordered = sorted(odds, key=lambda name: -abs(odds[name]))
    favour = [f"{name} {odds[name]:+.2f}" for name in ordered if odds[name] > 0][:NAMED]
    return {
        "favour": favour,
        "against": [f"{name} {odds[name]:+.2f}" for name in ordered if odds[name] < 0][:NAMED],
        "as_a_whole": None if whole is None else f"{whole:+.2f}",
    }


def percent(figure: Figure | None) -> str:
    """Return a share as ``12 %``."""
    return "-" if figure is None else f"{100 * figure.estimate:.0f} %"


def interval(figure: Figure | None) -> str:
    """Return a share's interval as ``8 to 17 %``."""
    return "nothing observed" if figure is None else f"{100 * figure.low:.0f} to {100 * figure.high:.0f} %"

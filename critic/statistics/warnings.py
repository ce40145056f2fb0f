"""What is wrong with a run's labels, said loudly: sentences for the report, the card and the terminal."""

from collections.abc import Iterator

from critic.statistics.intervals import Share
from critic.statistics.run import RunStatistics

SAME_POSITION = 0.5  # above it, the position decides more principles than the answers do
UNREADABLE = 0.1
LOW_MASS = 0.1
LONGEST = 0.8
CUT_OFF = 0.2
ENOUGH = 20  # observations, below which a share is not worth a warning


def warnings(statistics: RunStatistics, quarantined: int = 0) -> Iterator[str]:
    """Yield a sentence for each thing that a user of the run's data must know; the worst first."""
    judged = statistics.outcomes["preference"] + statistics.outcomes["tie"]
    share = _share(statistics.same_position)
    if judged and statistics.at_half == judged:
        yield f"Every comparison came out at 0.5: {_why_half(statistics)}."
    elif statistics.same_position.n >= ENOUGH and share > SAME_POSITION:
        yield (
            f"The judge mostly prefers a position, not an answer: {_percent(share)} of its principles' votes favour "
            "the same position in both orders (same-position rate)."
        )
    if not statistics.pairs:
        yield "No pairs: there is nothing to train on."
    if quarantined:
        yield f"Rows without a result: {quarantined:,}. They are in the quarantine, each with its reason."
    if (share := _share(statistics.unreadable)) > UNREADABLE:
        yield f"{_percent(share)} of the judge's answers could not be read."
    if (share := _share(statistics.low_mass)) > LOW_MASS:
        yield (
            f"In {_percent(share)} of the votes the judge puts nearly nothing on any of the choices (label mass), or "
            "answers with none of them: it has something else to say first, such as its thoughts."
        )
    if statistics.longest.n >= ENOUGH and (share := _share(statistics.longest)) > LONGEST:
        yield f"In {_percent(share)} of the comparisons the longer answer is preferred: length may be what is judged."
    if statistics.cut_off.n >= ENOUGH and (share := _share(statistics.cut_off)) > CUT_OFF:
        yield f"{_percent(share)} of the answers ran into the token limit and stop in the middle."


def _why_half(statistics: RunStatistics) -> str:
    share = _share(statistics.same_position)
    if share < 0.995:
        return "the votes say nothing, or cancel each other"
    firsts = statistics.same_first / statistics.same_position.total
    if firsts > 0.995:
        position = "first position"
    elif firsts < 0.005:
        position = "second position"
    else:
        position = "same position"
    return f"the judge always prefers the {position} (same-position rate {_percent(share)})"


def _share(share: Share) -> float:
    return share.total / share.n if share.n else 0.0


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"

"""The order in which an annotator sees the responses: shuffled for each task and annotator, and undone when stored.

So a preference for the first place is not a preference for whatever wrote the first response, and it can be measured.
"""

from collections.abc import Sequence

from constitution.digest import unit_interval
from critic.feedback import (
    AnyLabel,
    ComparisonLabel,
    CorrectionLabel,
    CritiqueLabel,
    DemonstrationLabel,
    RankingLabel,
    RatingLabel,
    ThumbsLabel,
)

Order = tuple[int, ...]
"""By place on the page, the position of the response in its item."""


def order(task: str, annotator: str, responses: int) -> Order:
    """The same for the same task and annotator, whenever it is asked for."""
    return tuple(sorted(range(responses), key=lambda position: unit_interval("shown", task, annotator, position)))


def turned_back(label: AnyLabel, shown: Order) -> AnyLabel:
    """Return what ``label``, given to the responses as they were ``shown``, says of them in their own order."""
    match label:
        case ComparisonLabel():
            return label if shown == (0, 1) else label.turned()
        case RankingLabel():
            strengths = None if label.strengths is None else _back(label.strengths, shown)
            return label.model_copy(update={"ranks": _back(label.ranks, shown), "strengths": strengths})
        case RatingLabel() | ThumbsLabel() | CorrectionLabel():
            return label.model_copy(update={"response": shown[label.response]})
        case CritiqueLabel():
            spans = tuple(span.model_copy(update={"response": shown[span.response]}) for span in label.spans)
            return label.model_copy(update={"spans": spans})
        case DemonstrationLabel():
            return label


def _back(values: Sequence[float], shown: Order) -> tuple[float, ...]:
    return tuple(value for _, value in sorted(zip(shown, values, strict=True)))

"""The order in which an annotator sees the responses: shuffled for each task and annotator, and undone when stored.

So a preference for the first place is not a preference for whatever wrote the first response, and it can be measured.
"""

from base.digest import unit_interval
from critic.feedback import AnyLabel

Order = tuple[int, ...]
"""By place on the page, the position of the response in its item."""


def order(task: str, annotator: str, responses: int) -> Order:
    """The same for the same task and annotator, whenever it is asked for."""
    return tuple(sorted(range(responses), key=lambda position: unit_interval("shown", task, annotator, position)))


def turned_back(label: AnyLabel, shown: Order) -> AnyLabel:
    """Return what ``label``, given to the responses as they were ``shown``, says of them in their own order."""
    return label.reordered([shown.index(position) for position in range(len(shown))])

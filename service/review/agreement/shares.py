"""A share with its interval, as it goes out."""

from dataclasses import asdict
from typing import Self

from pydantic import BaseModel

from critic.statistics.intervals import Figure, Mean, Share
from service.answers.agreement import ShareFigure


def share_of(share: Share) -> ShareFigure | None:
    """Return the figure of what was counted; None of nothing."""
    return share_as_told(share.figure())


def share_as_told(figure: Figure | None) -> ShareFigure | None:
    """Return a figure as it goes out."""
    return None if figure is None else ShareFigure(**asdict(figure))


class MeanFigure(BaseModel):
    """A mean of ``n`` observations. Its 95 % interval is null where too few were made to say one."""

    estimate: float
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, mean: Mean) -> Self | None:
        """Return the figure of what was counted; None of nothing."""
        figure = mean.figure()
        if figure is None:
            return None
        bounded = abs(figure.low) != float("inf")
        return cls(
            estimate=figure.estimate,
            low=figure.low if bounded else None,
            high=figure.high if bounded else None,
            n=figure.n,
        )

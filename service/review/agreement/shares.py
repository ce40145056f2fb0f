"""A share with its interval, as it goes out."""

from dataclasses import asdict
from typing import Self

from pydantic import BaseModel

from critic.statistics.intervals import Figure, Mean, Share


class ShareFigure(BaseModel):
    """A share with its 95 % interval, wider where several observations come from one item; ``n`` observations."""

    estimate: float
    low: float
    high: float
    n: int
    clusters: int

    @classmethod
    def of(cls, share: Share) -> Self | None:
        """Return the figure of what was counted; None of nothing."""
        return cls.of_figure(share.figure())

    @classmethod
    def of_figure(cls, figure: Figure | None) -> Self | None:
        """Return a figure as it goes out."""
        return None if figure is None else cls(**asdict(figure))


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

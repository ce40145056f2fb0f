"""What the API tells of agreement."""

from pydantic import BaseModel

from critic.feedback import Kind, Source
from critic.statistics.raters import Level


class ShareFigure(BaseModel):
    """A share with its 95 % interval, wider where several observations come from one item; ``n`` observations."""

    estimate: float
    low: float
    high: float
    n: int
    clusters: int


class ReliabilityFigures(BaseModel):
    """Agreement of several raters: the share of pairs of labels that are equal, and Krippendorff's alpha.

    Alpha is null where all labels are the same; by ``level`` it counts how far apart two values are, too. The ordinal
    one is null where there are more than 256 different values.
    """

    units: int
    agreement: ShareFigure | None
    alpha: dict[Level, float | None]


class RaterFigures(BaseModel):
    """One rater. ``agreement`` is with people other than themselves, label by label: of a person's own group, if any.

    It is null for a judge where people are of several groups: `GET /v1/projects/{id}/judges` sets it beside each group.

    ``first_lean`` is how often the preferred response is the one shown first, ``longer_lean`` how often the longer one:
    0.5 is no lean. ``unsure`` is how many of the labels say that their annotator can't tell.

    ``seconds`` is the mean time that an answer to a task took, and ``labels_per_hour`` how many fit in an hour: by the
    time that the annotator's page measured, without pauses, or else that from lease to answer.
    """

    source: Source
    annotator: str | None
    group: str | None
    labels: int
    unsure: int
    agreement: ShareFigure | None
    first_lean: ShareFigure | None
    longer_lean: ShareFigure | None
    seconds: float | None
    labels_per_hour: float | None


class PairFigures(BaseModel):
    """Two raters, on the units that both have rated: the share of equal values, and Cohen's kappa."""

    first: str | None
    second: str | None
    units: int
    agreement: float | None
    kappa: float | None


class GroupAgreement(BaseModel):
    """How far the people of one group agree among themselves; ``group`` is null for people who have none.

    ``by_principle`` is how far they agree by one principle each, where they were asked for that.
    """

    group: str | None
    people: ReliabilityFigures
    by_principle: dict[str, ReliabilityFigures]


class ProjectAgreement(BaseModel):
    """A project's figures. Judges are among ``everyone`` where they labelled the same items, in the project or not.

    ``groups`` has the people of each group apart, at most 100 of them. Where there are several, ``people``,
    ``everyone`` and ``by_principle``, which bring them together, are null unless the request asks for them, ``pooled``.

    Of ``raters`` there are at most 1,000, those who labelled first: ``raters_left_out`` are among all other figures.
    ``pairs`` are of the first 100. ``by_principle`` is how far people agree by one principle each, where they were
    asked for that, of up to 500 principles.
    """

    project: str
    kind: Kind
    items: int
    labels: int
    pooled: bool
    people: ReliabilityFigures | None
    everyone: ReliabilityFigures | None
    by_principle: dict[str, ReliabilityFigures] | None
    principles_left_out: int
    groups: list[GroupAgreement]
    groups_left_out: int
    raters: list[RaterFigures]
    raters_left_out: int
    pairs: list[PairFigures]

"""What the API tells of engines, and what judges say through it."""

from typing import Literal

from pydantic import BaseModel

from critic import records
from critic.records import Drop, Vote


class EngineShown(BaseModel):
    """An engine. ``mode`` is how it judges unless a request says otherwise.

    It is opened when it is first asked for; ``model`` and ``capabilities`` are known from then on.
    """

    name: str
    kind: str
    mode: str
    default: bool
    open: bool
    model: str | None
    capabilities: dict[str, str]


class ComparisonJudged(BaseModel):
    """What one group's principles say of two responses (by position); ``id`` is the feedback's.

    ``probability`` is that the first is better; None where nothing could be read, or no principle applies.
    """

    id: str
    group: str | None
    first: int
    second: int
    outcome: Literal["preference", "tie", "unreadable", "no_principle"]
    probability: float | None
    votes: list[Vote]


class RankedResponses(BaseModel):
    """All responses by one group's comparisons. Rank 1 is the best; strengths are Bradley-Terry's, in log-odds."""

    id: str
    group: str | None
    ranks: list[int]
    strengths: list[float]


class BiasFigure(BaseModel):
    """A share ``of`` so many; None of nothing."""

    share: float | None
    of: int


class Bias(BaseModel):
    """How far places on the page, and not the responses, decided.

    ``same_position``: a principle's two votes that favour the same place. ``first_lean``: votes for what is shown
    first. ``order_disagreement``: comparisons whose two orders prefer different responses. ``unreadable``: all votes.
    """

    same_position: BiasFigure
    first_lean: BiasFigure
    order_disagreement: BiasFigure
    unreadable: BiasFigure


class ComparisonAnswer(BaseModel):
    """The judgements, and for more than two responses the rankings: one for each group, which are never averaged.

    ``dropped`` says why a group has no ranking.
    """

    constitution: str
    constitution_hash: str
    judge: str
    mode: str
    seed: int
    judgements: list[ComparisonJudged]
    rankings: list[RankedResponses]
    dropped: list[Drop]
    bias: Bias


class CritiqueRound(BaseModel):
    """One round. ``response`` is the revised one; ``outcome`` says why there is none, where revision was asked for."""

    critique: records.Critique
    outcome: Literal["revised", "unchanged", "nothing_to_revise", "unreadable", "no_answer"] | None
    response: records.Response | None


class CritiqueAnswer(BaseModel):
    """All rounds, and the response that is left; ``ids`` are those of the feedback: critiques and corrections."""

    ids: list[str]
    constitution: str
    constitution_hash: str
    judge: str
    seed: int
    rounds: list[CritiqueRound]
    final: str


class RewardAnswer(BaseModel):
    """A reward for each answer, in order; null where it can't be read, and then ``problems`` says why.

    ``scores`` are the same numbers and ``extra_logs`` is empty: OpenRLHF reads both.
    """

    rewards: list[float | None]
    scores: list[float | None]
    extra_logs: dict[str, list[float]] = {}
    problems: list[str | None]

"""The datum: from a prompt to a preference pair. Immutable, and illegal data can't be built.

One prompt's way through the pipeline is one `Row`: its responses, each with the chain of critiques and revisions
that followed it, the judgements with every vote, the pairs that came of them, and what was dropped, with the reason.
"""

import math
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from base.digest import digest
from critic.messages import Message as Message
from critic.messages import Record as Record
from critic.messages import Role as Role

Order = Literal["given", "swapped"]


class Prompt(Record):
    """What the policy answers: a chat that ends with the user's turn.

    ``tags`` choose which principles apply; ``id`` is the name that the prompt's file gave it, if any.
    """

    messages: tuple[Message, ...]
    tags: tuple[str, ...] = ()
    id: str | None = None

    @model_validator(mode="after")
    def _well_formed(self) -> Self:
        if len(self.messages) == 1 and self.messages[0].role == "user" and self.messages[0].content.strip():
            return self  # most prompts are one question, and millions are read
        roles = [message.role for message in self.messages]
        turns = _without_tool_turns(self.messages[1:] if roles[:1] == ["system"] else self.messages)
        if turns != ["user" if i % 2 == 0 else "assistant" for i in range(len(turns))] or len(turns) % 2 == 0:
            if roles and roles[-1] == "tool":
                raise ValueError(
                    "chat roles are out of order: after a tool's result; a prompt ends with the user's turn"
                )
            raise ValueError(
                f"chat roles are out of order: {', '.join(roles) or 'none'}; "
                "expected an optional system message, then user and assistant in turn, ending with user"
            )
        if not self.messages[-1].content.strip():
            raise ValueError("the last user message is empty")
        return self

    @cached_property
    def key(self) -> str:
        """SHA-256 of all turns (of their content, not of tags or id)."""
        return digest(["prompt", [m.hashed() for m in self.messages]])


def _without_tool_turns(messages: tuple[Message, ...]) -> list[Role]:
    """Return the turns' roles: calls of tools, one result each, and what is said after them are one turn."""
    roles: list[Role] = []
    waited = 0
    has_called = False
    for message in messages:
        if message.role == "tool":
            if waited == 0:
                raise ValueError("a tool's result stands where no call is left without one")
            waited -= 1
            continue
        if waited:
            raise ValueError("a tool call has no result: expected a message of role 'tool' after it")
        if message.role != "assistant" or not has_called:
            roles.append(message.role)
        waited = len(message.tool_calls or ())
        has_called = waited > 0
    if waited:
        raise ValueError("a tool call has no result: expected a message of role 'tool' after it")
    return roles


class Response(Record):
    """One answer to a prompt. ``model`` names the engine that wrote it, or is ``given`` where it came in a file.

    ``reasoning`` is what the model thought before it answered. Nobody judges, revises or learns from it.
    """

    text: str
    model: str
    finish: Literal["stop", "length", "given"] = "given"
    reasoning: str | None = None


class Item(Record):
    """One line of a run's input: a prompt, and the responses that came with it (``cai judge``), if any."""

    prompt: Prompt
    responses: tuple[Response, ...] = ()


class Line(Record):
    """An item and its place in the input: ``row`` counts from 0, ``where`` is ``FILE NAME:LINE`` for people.

    ``cut`` counts the characters taken off the end of the prompt's last message, where that was asked for;
    ``left_off`` the answers that the prompt's chat ended with, which nobody asked for; ``thoughts`` the turns
    and answers whose thoughts were left out.
    """

    row: int
    where: str
    item: Item
    cut: int = 0
    left_off: int = 0
    thoughts: int = 0


class Quarantined(Record):
    """A row that gave no result, and why: it is named here instead, and costs no other row anything.

    ``reason`` is a short slug that reports count (``broken_line``, ``too_long``, ``engine_error``); ``detail`` says
    what was expected and what to do.
    """

    row: int
    where: str
    reason: str
    detail: str


class Critique(Record):
    """What a judge says of a response under one principle.

    ``outcome`` is ``nothing_to_revise`` where the judge found no fault, ``unreadable`` where it said nothing, and
    ``no_answer`` where it thought and said nothing. ``reasoning`` is what it thought before.
    """

    round: int
    principle: str
    principle_digest: str
    text: str
    model: str
    outcome: Literal["critique", "nothing_to_revise", "unreadable", "no_answer"]
    reasoning: str | None = None


class Revision(Record):
    """One round of critique and revision. ``response`` is the new answer; None unless the outcome is ``revised``.

    ``detail`` says why there is no answer, where it is known.
    """

    critique: Critique
    response: Response | None = None
    outcome: Literal["revised", "unchanged", "nothing_to_revise", "unreadable", "no_answer"]
    detail: str = ""

    @model_validator(mode="after")
    def _response_iff_revised(self) -> Self:
        if (self.response is not None) != (self.outcome == "revised"):
            raise ValueError(f"a revision has a response exactly if its outcome is 'revised', not {self.outcome!r}")
        return self


class Chain(Record):
    """A sampled response and the revisions that followed it, in rounds."""

    original: Response
    revisions: tuple[Revision, ...] = ()

    @property
    def final(self) -> Response:
        """The last revised response, or the original where no round changed it."""
        return next((r.response for r in reversed(self.revisions) if r.response is not None), self.original)


class Vote(Record):
    """One principle read once by one judge.

    ``log_odds`` says how much better the first response is (of the comparison, not of the page: the order is undone
    already); None where the answer was unreadable, with what came back in ``raw``. ``order`` is None for modes that
    read each response alone; ``values`` then holds what each got, where that means something by itself (a score, a
    reward). ``principle`` is None for judges that read none (reward models). ``prior`` is what was subtracted for the
    page's own preference (about its response A), ``reason`` what the judge wrote before it answered. ``mass`` is the
    probability that the model put on any of the choices; None for modes that read none. ``confidence`` is how sure a
    server of typed decisions says that it is, by its own measure; None for all others.
    """

    principle: str | None
    principle_digest: str | None
    judge: str
    mode: str
    order: Order | None
    log_odds: float | None
    raw: str | None = None
    values: tuple[float, float] | None = None
    prior: float | None = None
    reason: str | None = None
    mass: float | None = Field(default=None, ge=0)
    confidence: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _raw_iff_unreadable(self) -> Self:
        if (self.log_odds is None) != (self.raw is not None):
            raise ValueError("a vote has either log_odds, or raw with what came back unreadable")
        return self


class Judgement(Record):
    """One judge's or jury's answer to one comparison, for one group: which of two responses is better, how surely.

    ``first`` and ``second`` are positions in the row's ``candidates``. ``probability`` (that the first is better) is
    None where no principle could be read (``unreadable``) or none applies (``no_principle``). ``judge`` names all
    jurors; ``mode`` is ``jury`` where there are several.
    """

    first: int
    second: int
    mode: str
    judge: str
    group: str | None = None
    votes: tuple[Vote, ...]
    outcome: Literal["preference", "tie", "unreadable", "no_principle"]
    probability: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _probability_iff_read(self) -> Self:
        if (self.probability is not None) != (self.outcome in ("preference", "tie")):
            raise ValueError(f"a judgement has a probability exactly if it was read; the outcome is {self.outcome!r}")
        if self.first == self.second:
            raise ValueError("a judgement compares two different candidates")
        return self


class PreferencePair(Record):
    """Chosen and rejected: never a tie, never equal sides. ``probability`` that the chosen one is better, above 0.5."""

    chosen: Response
    rejected: Response
    probability: float = Field(gt=0.5, le=1)
    weight: float = Field(default=1.0, gt=0)
    group: str | None = None

    @model_validator(mode="after")
    def _sides_differ(self) -> Self:
        if self.chosen.text == self.rejected.text:
            raise ValueError("chosen and rejected are the same text")
        return self


class Ranking(Record):
    """A row's candidates in order, by all comparisons of one group: see `critic.judging.ranking`.

    ``ranks`` and ``strengths`` are by candidate. Rank 1 is the best, equals share one, and none is left out.
    """

    ranks: tuple[int, ...]
    strengths: tuple[float, ...]
    group: str | None = None

    @model_validator(mode="after")
    def _ranks_follow_strengths(self) -> Self:
        ordered = [
            rank for _, rank in sorted(zip(self.strengths, self.ranks, strict=True), key=lambda x: (-x[0], x[1]))
        ]
        if ordered[:1] != [1] or any(rank - before not in (0, 1) for before, rank in pairwise(ordered)):
            raise ValueError("ranks go 1, 2, 3 ... from the greatest strength down")
        return self

    def probability(self, first: int, second: int) -> float:
        """The fitted probability that candidate ``first`` is better than ``second``."""
        return 1 / (1 + math.exp(self.strengths[second] - self.strengths[first]))


class Drop(Record):
    """Something that didn't become data, and why. Nothing is dropped without one of these."""

    what: Literal["prompt", "response", "revision", "ranking", "pair"]
    reason: Literal[
        "tie",
        "equal_sides",
        "unreadable",
        "no_principle",
        "empty_response",
        "no_answer",
        "nothing_to_revise",
        "unchanged",
        "intransitive",
        "disconnected",
        "truncated",
        "given_answer",
        "thoughts",
    ]
    detail: str = ""


class Row(Record):
    """Everything that came of one prompt. ``candidates`` are what judgements and rankings refer to, by position."""

    row: int
    where: str
    prompt: Prompt
    chains: tuple[Chain, ...]
    candidates: tuple[Response, ...]
    judgements: tuple[Judgement, ...]
    rankings: tuple[Ranking, ...] = ()
    pairs: tuple[PreferencePair, ...]
    drops: tuple[Drop, ...] = ()

    def votes(self) -> Iterator[Vote]:
        """Every vote of every judgement."""
        for judgement in self.judgements:
            yield from judgement.votes

    def ranking(self, group: str | None) -> Ranking | None:
        """The ranking by one group's comparisons, if there is one."""
        return next((ranking for ranking in self.rankings if ranking.group == group), None)


class Provenance(Record):
    """Where a label comes from: stamped on every exported row."""

    constitution: str
    constitution_hash: str
    policy: str
    judge: str
    mode: str
    strategy: str
    templates: str
    seed: int

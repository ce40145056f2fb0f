"""Multiple choice over right and wrong answers: which one a judge takes, and how far its certainty can be believed.

Every correct answer is put against every incorrect one. By *letters*: the two are shown as A and B, in an order that is
drawn and in the other one; what is read is the difference of the letters' log-probabilities (Bai et al. 2022, section
4.1). A prompt that lists its options itself is shown as it is, and with the options in reverse order. By *likelihood*:
how likely each answer is after the prompt, summed over its tokens and per token (Askell et al. 2021).

Letters are read as a judge's votes are: where less than a floor of probability is on all of them, what the model says
of one against another is noise in its tail, and the pair can't be read by letters.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from math import isfinite, isnan
from typing import TypeVar

from base.digest import unit_interval
from base.together import together
from critic.calls.faults import Streak
from critic.engine import Choices, Engine, EngineError, Node, OwnTokens, RequestTooLong, Score
from critic.evaluation.choice_formats import ChoiceFormat
from critic.evaluation.choice_rows import ChoiceRow, ListedOptions
from critic.judging.base import FLOOR, log_odds, mass_of
from critic.records import Message, Prompt, Quarantined

IN_FLIGHT = 64  # rows asked at once: enough to fill an engine's batches

T = TypeVar("T")

_Two = tuple[float | None, float | None]
_ByLetters = tuple[float | None, float | None, float | None]
"""Log-odds in the given order and in the other one, and the least label mass of the two."""


@dataclass(frozen=True, slots=True)
class PairReading:
    """What was read of a correct and an incorrect answer, as advantages of the correct one; None where unreadable.

    ``given`` and ``swapped`` are log-odds by the letters in either order; with ``correct_first`` the given order shows
    the correct answer first. ``summed`` and ``per_token`` are differences of log-likelihoods. ``mass`` is the
    probability that was on any of the letters, the least of both orders.
    """

    correct_first: bool
    given: float | None
    swapped: float | None
    summed: float | None
    per_token: float | None
    mass: float | None = None

    @property
    def both(self) -> float | None:
        """The mean over both orders."""
        return None if self.given is None or self.swapped is None else (self.given + self.swapped) / 2


@dataclass(frozen=True, slots=True)
class RowReading:
    """A row's pairs. ``one_order`` where its options can't be reversed; ``problems`` are calls that gave no answer."""

    row: int
    where: str
    pairs: tuple[PairReading, ...]
    one_order: bool
    problems: tuple[str, ...]


async def measure(
    judge: Engine,
    rows: Iterable[ChoiceRow],
    format: ChoiceFormat,
    on_row: Callable[[], None] = lambda: None,
    floor: float = FLOOR,
) -> list[RowReading | Quarantined]:
    """Read every row; one of which nothing can be read is quarantined. Letters need ``floor`` of label mass.

    Raises `RunStopped` where the engine is gone, or fails every row alike.
    """
    slots, streak = asyncio.Semaphore(IN_FLIGHT), Streak()

    async def one(row: ChoiceRow) -> RowReading | Quarantined:
        async with slots:
            try:
                return await streak.do(lambda: _read(judge, row, format, floor))
            except EngineError as error:
                reason = "too_long" if isinstance(error, RequestTooLong) else "engine_error"
                return Quarantined(row=row.row, where=row.where, reason=reason, detail=str(error))
            finally:
                on_row()

    return await together(map(one, rows))


async def _read(judge: Engine, row: ChoiceRow, format: ChoiceFormat, floor: float) -> RowReading:
    """Read a row in both ways. Raises `EngineError` where neither can be asked."""
    by_letters = _listed(judge, row, row.listed, format) if row.listed else _shown(judge, row, format)
    odds, likelihoods = await _answered(by_letters), await _answered(_likelihoods(judge, row))
    problems = [outcome for outcome in (odds, likelihoods) if isinstance(outcome, EngineError)]
    if len(problems) == 2:
        raise problems[0]
    pairs = row.pairs()
    no_letters: list[_ByLetters] = [(None, None, None)] * len(pairs)
    no_likelihoods: list[_Two] = [(None, None)] * len(pairs)
    read = zip(
        pairs,
        no_letters if isinstance(odds, EngineError) else odds,
        no_likelihoods if isinstance(likelihoods, EngineError) else likelihoods,
        strict=True,
    )
    return RowReading(
        row=row.row,
        where=row.where,
        pairs=tuple(_reading(_correct_first(row, *pair), both, likely, floor) for pair, both, likely in read),
        one_order=row.listed is not None and row.listed.reverse is None,
        problems=tuple(map(str, problems)),
    )


def _reading(correct_first: bool, by_letters: _ByLetters, likely: _Two, floor: float) -> PairReading:
    given, swapped, mass = by_letters
    if mass is not None and mass < floor:
        given = swapped = None
    return PairReading(correct_first, given, swapped, *likely, mass)


async def _answered(work: Awaitable[T]) -> T | EngineError:
    try:
        return await work
    except EngineError as error:
        return error


def _correct_first(row: ChoiceRow, correct: str, incorrect: str) -> bool:
    """By the prompt's own list, or drawn."""
    if row.listed:
        return row.listed.names[correct] < row.listed.names[incorrect]
    return unit_interval("first", row.prompt.key, correct, incorrect) < 0.5


async def _shown(judge: Engine, row: ChoiceRow, format: ChoiceFormat) -> list[_ByLetters]:
    """Show each pair in both orders. Return the correct answer's log-odds in each, and the mass."""
    pairs = row.pairs()
    first = [_correct_first(row, *pair) for pair in pairs]
    given = [pair if shown else pair[::-1] for pair, shown in zip(pairs, first, strict=True)]
    scores = iter(await judge.score(format.tree(row.prompt, [page for a, b in given for page in ((a, b), (b, a))])))
    both = [(next(scores), next(scores)) for _ in first]
    return [
        (_odds(one, shown), _odds(other, not shown), _mass((one, other)))
        for shown, (one, other) in zip(first, both, strict=True)
    ]


def _odds(score: Score, correct_is_a: bool) -> float | None:
    a, b = score.values
    return log_odds(a, b) if correct_is_a else log_odds(b, a)


def _mass(scores: Iterable[Score]) -> float | None:
    """Return the least label mass; None where one is not known, since the model's arithmetic failed."""
    masses = [None if all(map(isnan, score.values)) else mass_of(score) for score in scores]
    known = [mass for mass in masses if mass is not None]
    return min(known) if len(known) == len(masses) else None


async def _listed(judge: Engine, row: ChoiceRow, listed: ListedOptions, format: ChoiceFormat) -> list[_ByLetters]:
    """Show the row's own list, and its reverse: there the last letter stands for the first option."""
    orders: list[tuple[Prompt, tuple[str, ...]]] = [(row.prompt, listed.letters)]
    if listed.reverse:
        orders.append((listed.reverse, listed.letters[::-1]))
    choices = Choices(listed.letters)
    trees = (Node((*prompt.messages, *format.opening), choices) for prompt, _ in orders)
    scores = [score for [score] in await together(map(judge.score, trees))]
    read = [dict(zip(names, score.values, strict=True)) for (_, names), score in zip(orders, scores, strict=True)]
    pairs = []
    for c, i in row.pairs():
        pairs.append([log_odds(by[listed.names[c]], by[listed.names[i]]) for by in read])
    return [(odds[0], odds[1] if len(odds) == 2 else None, _mass(scores)) for odds in pairs]


async def _likelihoods(judge: Engine, row: ChoiceRow) -> list[_Two]:
    """Read every answer after the prompt. Return the differences of log-likelihoods, summed and per token."""
    answers = (*row.corrects, *row.incorrects)
    own = OwnTokens()
    nodes = tuple(Node((Message(role="assistant", content=answer),), own) for answer in answers)
    scores = dict(zip(answers, await judge.score(Node(row.prompt.messages, children=nodes)), strict=True))
    return [_differences(scores[correct], scores[incorrect]) for correct, incorrect in row.pairs()]


def _differences(correct: Score, incorrect: Score) -> _Two:
    summed = correct.values[0] - incorrect.values[0]
    if not isfinite(summed):
        return None, None
    return summed, correct.values[0] / correct.tokens - incorrect.values[0] / incorrect.tokens

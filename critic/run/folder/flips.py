"""What another constitution would make of a run's judgements, from the stored votes. Pure, and no call is made.

A stored vote still counts where the new principle's question is the old one's, word for word, in the juror's mode
(`critic.judging.base.Mode.asked_by`). Where all votes are there, the new judgement is known. Where some would be asked
again, it lies between two: each missing vote at the least and at the most that `critic.judging.aggregate` lets one
count. Pooling rises with every vote, over classes of priority too, so nothing lies outside; a vote that comes back
unreadable counts for nothing, and leaves the judgement between them unless no vote is left.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from constitution import Constitution, Principle
from critic.judging.aggregate import CLIP, Verdict, aggregate
from critic.judging.base import Mode
from critic.judging.modes import MODES
from critic.pipeline import judged_by, revised_by
from critic.records import Chain, Judgement, Prompt, Row, Vote
from critic.run.config import RunConfig
from critic.run.folder.weighing import Change, change_of

Certainty = Literal["stays", "flips", "may_flip"]

_STAYS: tuple[Change, ...] = ("kept_side", "stayed_tie", "stayed_unreadable")

# What a critique is asked by, beside the text that it is about; the instruction to revise follows it.
_CRITIQUED = ("statement", "critique", "examples")


@dataclass(frozen=True, slots=True)
class ForeseenJudgement:
    """What becomes of one judgement: of candidates ``first`` and ``second`` of a row, for one group.

    Probabilities are that the first is better, None where there is none; ``low`` and ``high`` are equal where the new
    one is known. ``missing`` counts the questions of it (a principle, a juror) that would be asked; ``change`` is the
    change that is known, None where it isn't; ``rewritten`` says that an answer would be revised otherwise first.
    """

    row: int
    where: str
    first: int
    second: int
    group: str | None
    before: float | None
    low: float | None
    high: float | None
    missing: int
    certainty: Certainty
    change: Change | None = None
    rewritten: bool = False


@dataclass(slots=True)
class Foresight:
    """All of it. ``questions`` and ``revisions`` are what would be asked of models again."""

    stays: int = 0
    questions: int = 0
    revisions: int = 0
    flips: list[ForeseenJudgement] = field(default_factory=list)
    may_flip: list[ForeseenJudgement] = field(default_factory=list)

    def add(self, judgement: ForeseenJudgement) -> None:
        """Count one judgement."""
        self.questions += judgement.missing
        match judgement.certainty:
            case "stays":
                self.stays += 1
            case "flips":
                self.flips.append(judgement)
            case "may_flip":
                self.may_flip.append(judgement)


@dataclass(frozen=True, slots=True)
class _Juror:
    judge: str
    mode: Mode


@dataclass(frozen=True, slots=True)
class Foreseer:
    """Looks at rows of the run that ``config`` describes, as ``new`` would have them.

    ``known`` are principles that its votes may have been cast under. A vote under none of these counts as missing.
    """

    config: RunConfig
    new: Constitution
    known: Mapping[str, Principle]
    jurors: tuple[_Juror, ...]

    @classmethod
    def of(cls, config: RunConfig, new: Constitution, others: Iterable[Constitution]) -> "Foreseer":
        """Return one that knows the principles of ``new`` and of ``others``."""
        known = {p.digest: p for constitution in (new, *others) for p in constitution.principles}
        jurors = [_Juror(seat.judge.name, _mode(seat.mode)) for seat in config.jury]
        return cls(config, new, known, tuple(jurors))

    def look(self, rows: Iterable[Row]) -> Foresight:
        """Return what becomes of all judgements of ``rows``."""
        foresight = Foresight()
        for row in rows:
            rewritten = [self._rewritten(row.prompt, number, chain) for number, chain in enumerate(row.chains)]
            foresight.revisions += sum(rewritten)
            for judgement in self._row(row, [rounds > 0 for rounds in rewritten]):
                foresight.add(judgement)
        return foresight

    def _row(self, row: Row, rewritten: Sequence[bool]) -> Iterator[ForeseenJudgement]:
        places = _places(row, self._pairs_revisions)
        before = {(j.first, j.second, j.group): j for j in row.judgements}
        votes = _Stored(row.judgements, self.known, self.jurors)
        for first, second in dict.fromkeys((j.first, j.second) for j in row.judgements):
            number = places[first, second]
            again = self._pairs_revisions and any(rewritten) and (self._draws or _chain(row, number, rewritten))
            settings = self.config.settings
            asked = judged_by(self.new, row.prompt, number, settings.judge_principles, settings.seed)
            for group, principles in asked.items():
                old = before.get((first, second, group))
                yield self._judgement(row, (first, second, group), old, votes, principles, again)
            for group in {group for one, other, group in before if (one, other) == (first, second)} - asked.keys():
                gone = before[first, second, group].probability
                place = (row.row, row.where, first, second, group)
                yield ForeseenJudgement(*place, gone, None, None, 0, "flips", "group_is_gone")

    @property
    def _pairs_revisions(self) -> bool:
        return self.config.kind == "generate" and self.config.settings.strategy == "revision"

    @property
    def _draws(self) -> bool:
        """Whether which principles judge depends on a comparison's number, which moves when answers are rewritten."""
        return self.config.settings.judge_principles is not None

    def _judgement(
        self,
        row: Row,
        place: tuple[int, int, str | None],
        old: Judgement | None,
        votes: "_Stored",
        principles: tuple[Principle, ...],
        again: bool,
    ) -> ForeseenJudgement:
        about = (row.row, row.where, *place)
        before = old.probability if old is not None else None
        held: list[Vote] = []
        missing: list[Vote] = []
        for juror in self.jurors:
            for principle in _asked_of(juror, principles):
                stored = () if again else votes.of(place, juror, principle)
                held += stored
                missing += () if stored else [_missing(juror, principle)]
        low, high = (self._verdict([*held, *_at(missing, odds)], principles) for odds in (-CLIP, CLIP))
        change, certainty = _told(old, low, high)
        return ForeseenJudgement(
            *about, before, low.probability, high.probability, len(missing), certainty, change, rewritten=again
        )

    def _verdict(self, votes: Sequence[Vote], principles: Sequence[Principle]) -> Verdict:
        return aggregate(votes, principles, self.config.settings)

    def _rewritten(self, prompt: Prompt, number: int, chain: Chain) -> int:
        """How many rounds of a chain would be asked for again."""
        settings = self.config.settings
        rounds = settings.revisions if self.config.kind == "generate" else 0
        drawn = revised_by(self.new, prompt, number, rounds, settings.seed)
        for place, (revision, principle) in enumerate(zip(chain.revisions, drawn, strict=False)):
            old = self.known.get(revision.critique.principle_digest)
            goes_on = revision.critique.outcome == "critique"
            if old is None or _critiqued(old, goes_on) != _critiqued(principle, goes_on):
                return len(drawn) - place
        return abs(len(drawn) - len(chain.revisions))


class _Stored:
    """A row's votes, by comparison, juror and what the question was made of."""

    def __init__(
        self, judgements: Iterable[Judgement], known: Mapping[str, Principle], jurors: Sequence[_Juror]
    ) -> None:
        modes = {(juror.judge, juror.mode.name): juror.mode for juror in jurors}
        self._votes: dict[object, list[Vote]] = {}
        for judgement in judgements:
            for vote in judgement.votes:
                comparison = (judgement.first, judgement.second)
                mode = modes.get((vote.judge, vote.mode))
                group = judgement.group if mode is not None and mode.reads == "rewards" else None
                key: object = (comparison, vote.judge, vote.mode, group)
                if vote.principle_digest is not None:
                    old = known.get(vote.principle_digest)
                    if mode is None or old is None:
                        continue
                    key = (comparison, vote.judge, vote.mode, mode.asked_by(old), vote.principle)
                self._votes.setdefault(key, []).append(vote)
        self._names = {key[:4]: key for key in self._votes if isinstance(key, tuple) and len(key) == 5}

    def of(self, place: tuple[int, int, str | None], juror: _Juror, principle: Principle) -> list[Vote]:
        """Return the votes that answer the juror's question of ``principle``, as votes of it."""
        first, second, group = place
        asked = juror.mode.asked_by(principle)
        about = ((first, second), juror.judge, juror.mode.name)
        if asked is None:
            return self._votes.get((*about, group if juror.mode.reads == "rewards" else None), [])
        own = (*about, asked, principle.id)
        key = own if own in self._votes else self._names.get((*about, asked))
        votes = self._votes.get(key, [])
        named = {"principle": principle.id, "principle_digest": principle.digest}
        return [vote.model_copy(update=named) for vote in votes]


def _asked_of(juror: _Juror, principles: Sequence[Principle]) -> Sequence[Principle]:
    """Return whom a juror votes for: one question stands for all where it reads no principle."""
    return principles[:1] if principles and juror.mode.asked_by(principles[0]) is None else principles


def _missing(juror: _Juror, principle: Principle) -> Vote:
    reads = juror.mode.asked_by(principle) is not None
    return Vote(
        principle=principle.id if reads else None,
        principle_digest=principle.digest if reads else None,
        judge=juror.judge,
        mode=juror.mode.name,
        order=None,
        log_odds=0.0,
    )


def _at(votes: Iterable[Vote], odds: float) -> list[Vote]:
    return [vote.model_copy(update={"log_odds": odds}) for vote in votes]


def _told(old: Judgement | None, low: Verdict, high: Verdict) -> tuple[Change | None, Certainty]:
    """Say what changes, from the least and the most that the new judgement can be."""
    if _side(low) != _side(high):
        return None, "may_flip"
    change = change_of(old, low)
    return change, "stays" if change in _STAYS else "flips"


def _side(verdict: Verdict) -> tuple[str, bool]:
    """The outcome, and for a preference which of the two it is for."""
    for_first = verdict.outcome == "preference" and verdict.probability is not None and verdict.probability > 0.5
    return verdict.outcome, for_first


def _places(row: Row, pairs_revisions: bool) -> dict[tuple[int, int], int]:
    """The number that a comparison has in its row, by which its principles are drawn."""
    count = len(row.candidates)
    pairs = ((2 * i, 2 * i + 1) for i in range(count // 2)) if pairs_revisions else combinations(range(count), 2)
    return {pair: number for number, pair in enumerate(pairs)}


def _chain(row: Row, number: int, rewritten: Sequence[bool]) -> bool:
    """Whether the answer that comparison ``number`` is about would be revised otherwise."""
    changed = [place for place, chain in enumerate(row.chains) if chain.final != chain.original]
    return rewritten[changed[number]]


def _critiqued(principle: Principle, goes_on: bool) -> tuple[object, ...]:
    """What a round reads of its principle. Examples are whole rounds, and hold the instruction to revise."""
    asked = tuple(getattr(principle, name) for name in _CRITIQUED)
    return (*asked, principle.revision) if goes_on or principle.examples else asked


def _mode(saved: Mapping[str, object]) -> Mode:
    options = {key: value for key, value in saved.items() if key != "name"}
    return MODES[str(saved["name"])].model_validate(options)

"""One prompt's way from text to preference pairs, in a straight line. Read this file first.

    sample     the policy answers, N times           (or the responses are given: `cai judge`)
    revise     the judge critiques and revises each answer, a sampled principle a round
    judge      the candidates are compared, principle by principle, every principle in both orders
    pair       probabilities become pairs; a tie, equal sides or an unreadable vote becomes a counted drop

Everything is per prompt: many of these run at once, engines batch across them, and no stage waits for another prompt.
Chance comes only from hashes of (seed, prompt, what is drawn), so a prompt's row doesn't depend on its neighbours.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from constitution import Constitution, Principle, sample
from critic.engines.base import Engine, Lane, Request, Sampling
from critic.judging.aggregate import Pooling, aggregate
from critic.judging.base import Question
from critic.judging.jury import Jury
from critic.records import Chain, Drop, Judgement, Line, PreferencePair, Prompt, Response, Row
from critic.revise import revise
from critic.seeds import seed_of
from critic.together import together

Strategy = Literal["samples", "revision", "best-of-n"]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What every prompt of a run goes through. ``judge_principles`` None means all of them.

    ``critic`` writes critiques and revisions; the ``jury`` compares.
    """

    constitution: Constitution
    policy: Engine
    critic: Engine
    jury: Jury
    policy_sampling: Sampling
    judge_sampling: Sampling
    seed: int = 0
    samples: int = 2
    revisions: int = 1
    strategy: Strategy = "samples"
    judge_principles: int | None = None
    tie_band: float = 0.02
    pooling: Pooling = field(default_factory=Pooling)
    lane: Lane = "batch"

    async def run(self, line: Line) -> Row:
        """Take one line of the input all the way. Raises `EngineError` where a call it needs can't be answered."""
        prompt, given = line.item.prompt, line.item.responses
        cut = [Drop(what="prompt", reason="truncated", detail=f"{line.cut} characters")] if line.cut else []
        if given:
            chains: tuple[Chain, ...] = ()
            candidates, drops = _usable(given)
            compared = list(combinations(range(len(candidates)), 2))
        else:
            responses, drops = _usable(await self._sample(prompt))
            chains = await self._revise(prompt, responses)
            candidates, compared = self._candidates(chains)
            drops += [drop for chain in chains for drop in _revision_drops(chain)]
        judgements = await self._judge(prompt, candidates, compared)
        pairs, dropped = self._pair(candidates, compared, judgements, given=bool(given))
        return Row(
            row=line.row,
            where=line.where,
            prompt=prompt,
            chains=chains,
            candidates=tuple(candidates),
            judgements=tuple(judgements),
            pairs=tuple(pairs),
            drops=(*cut, *drops, *dropped),
        )

    async def _sample(self, prompt: Prompt) -> list[Response]:
        """Ask the policy N times, each time with its own seed."""

        async def one(number: int) -> Response:
            seed = seed_of(self.seed, prompt.key, "sample", number)
            answer = await self.policy.complete(Request(prompt.messages, self.policy_sampling, seed), self.lane)
            return Response(text=answer.text.strip(), model=self.policy.identity.name, finish=answer.finish)

        return await together(one(number) for number in range(self.samples))

    async def _revise(self, prompt: Prompt, responses: Sequence[Response]) -> tuple[Chain, ...]:
        """Revise every response for the set number of rounds, each round under one applicable principle."""
        applicable = [p for p in self.constitution.principles if p.applies(prompt.tags)]

        async def one(number: int, response: Response) -> Chain:
            rounds = range(self.revisions if applicable else 0)
            drawn = [
                sample(applicable, seed=self.seed, prompt=f"{prompt.key}:{number}", round=r, k=1)[0] for r in rounds
            ]
            seeds = [seed_of(self.seed, prompt.key, "revise", number, r) for r in rounds]
            return await revise(self.critic, prompt, response, drawn, self.judge_sampling, seeds, self.lane)

        return tuple(await together(one(number, response) for number, response in enumerate(responses)))

    def _candidates(self, chains: Sequence[Chain]) -> tuple[list[Response], list[tuple[int, int]]]:
        """Choose what is compared with what, by the strategy."""
        if self.strategy != "revision":
            return [chain.original for chain in chains], list(combinations(range(len(chains)), 2))
        changed = [chain for chain in chains if chain.final != chain.original]
        candidates = [response for chain in changed for response in (chain.final, chain.original)]
        return candidates, [(2 * i, 2 * i + 1) for i in range(len(changed))]

    async def _judge(
        self, prompt: Prompt, candidates: Sequence[Response], compared: Iterable[tuple[int, int]]
    ) -> list[Judgement]:
        """Judge each pair of unequal candidates, once for each group of principles; groups are never mixed."""
        questions = [
            self._compare(prompt, candidates, pair, number)
            for number, pair in enumerate(compared)
            if candidates[pair[0]].text != candidates[pair[1]].text
        ]
        return [judgement for judgements in await together(questions) for judgement in judgements]

    async def _compare(
        self, prompt: Prompt, candidates: Sequence[Response], pair: tuple[int, int], number: int
    ) -> list[Judgement]:
        async def one(group: str | None, principles: tuple[Principle, ...]) -> Judgement:
            first, second = pair
            question = Question(prompt, candidates[first].text, candidates[second].text, principles, self.seed, group)
            votes = await self.jury.votes(question, self.lane) if principles else ()
            verdict = aggregate(votes, principles, self.tie_band, self.pooling)
            return Judgement(
                first=first,
                second=second,
                mode=self.jury.mode,
                judge=self.jury.judge,
                group=group,
                votes=votes,
                outcome=verdict.outcome,
                probability=verdict.probability,
            )

        return await together(one(group, principles) for group, principles in self._asked(prompt, number).items())

    def _asked(self, prompt: Prompt, number: int) -> dict[str | None, tuple[Principle, ...]]:
        """The principles that judge comparison ``number`` of a prompt, by group; one empty group if none applies."""
        groups: dict[str | None, list[Principle]] = {}
        for principle in self.constitution.principles:
            if principle.applies(prompt.tags):
                groups.setdefault(principle.group.id if principle.group else None, []).append(principle)
        key = f"{prompt.key}:judge"
        return {
            group: sample(principles, seed=self.seed, prompt=key, round=number, k=self.judge_principles)
            for group, principles in (groups or {None: []}).items()
        }

    def _pair(
        self,
        candidates: Sequence[Response],
        compared: Sequence[tuple[int, int]],
        judgements: Sequence[Judgement],
        *,
        given: bool,
    ) -> tuple[list[PreferencePair], list[Drop]]:
        """Turn judgements into pairs, or into drops with the reason."""
        drops = [
            Drop(what="pair", reason="equal_sides", detail=f"candidates {a} and {b}")
            for a, b in compared
            if candidates[a].text == candidates[b].text
        ]
        chosen = judgements
        if self.strategy == "best-of-n" and not given:
            chosen, dropped = best_against_worst(judgements)
            drops += dropped
        pairs = []
        for judgement in chosen:
            if judgement.outcome != "preference" or judgement.probability is None:
                drops.append(Drop(what="pair", reason=_no_pair(judgement), detail=_place(judgement)))
                continue
            better, worse = candidates[judgement.first], candidates[judgement.second]
            probability = judgement.probability
            if probability < 0.5:
                better, worse, probability = worse, better, 1 - probability
            pairs.append(PreferencePair(chosen=better, rejected=worse, probability=probability, group=judgement.group))
        return pairs, drops


def best_against_worst(judgements: Sequence[Judgement]) -> tuple[list[Judgement], list[Drop]]:
    """For each group, the judgement between the candidate of highest and that of lowest mean probability.

    Dropped as ``intransitive`` where their own comparison says the opposite of the means, and as ``unreadable`` where
    it could not be read.
    """
    chosen, drops = [], []
    for group in dict.fromkeys(judgement.group for judgement in judgements):
        mine = [j for j in judgements if j.group == group]
        means = _mean_probability(mine)
        if not means:
            drops.append(Drop(what="pair", reason=_no_pair(mine[0]), detail="no comparison could be used"))
            continue
        best, worst = max(means, key=lambda i: (means[i], -i)), min(means, key=lambda i: (means[i], -i))
        direct = next((j for j in mine if {j.first, j.second} == {best, worst}), None)
        if direct is None or direct.probability is None:
            drops.append(Drop(what="pair", reason="unreadable", detail=f"best {best}, worst {worst}"))
        elif (direct.probability > 0.5) != (direct.first == best) and direct.outcome == "preference":
            drops.append(Drop(what="pair", reason="intransitive", detail=_place(direct)))
        else:
            chosen.append(direct)
    return chosen, drops


def _usable(responses: Iterable[Response]) -> tuple[list[Response], list[Drop]]:
    usable, drops = [], []
    for number, response in enumerate(responses):
        if response.text.strip():
            usable.append(response)
        else:
            drops.append(Drop(what="response", reason="empty_response", detail=f"response {number}"))
    return usable, drops


def _revision_drops(chain: Chain) -> Iterable[Drop]:
    for revision in chain.revisions:
        if revision.outcome != "revised":
            detail = f"round {revision.critique.round}, principle {revision.critique.principle}"
            yield Drop(what="revision", reason=revision.outcome, detail=detail)


def _mean_probability(judgements: Iterable[Judgement]) -> dict[int, float]:
    won: dict[int, list[float]] = {}
    for judgement in judgements:
        if judgement.probability is not None:
            won.setdefault(judgement.first, []).append(judgement.probability)
            won.setdefault(judgement.second, []).append(1 - judgement.probability)
    return {candidate: sum(p) / len(p) for candidate, p in won.items()}


def _no_pair(judgement: Judgement) -> Literal["tie", "unreadable", "no_principle"]:
    return "tie" if judgement.outcome == "preference" else judgement.outcome


def _place(judgement: Judgement) -> str:
    of = f", group {judgement.group}" if judgement.group is not None else ""
    return f"candidates {judgement.first} and {judgement.second}{of}"

"""One prompt's way from text to preference pairs, in a straight line. Read this file first.

    sample     the policy answers, N times           (or the responses are given: `cai judge`)
    revise     the judge critiques and revises each answer, a sampled principle a round
    judge      the candidates are compared, principle by principle, every principle in both orders
    pair       probabilities (or the ranking that fits them all) become pairs; a tie, equal sides or an unreadable vote
               becomes a counted drop

Everything is per prompt: many of these run at once, engines batch across them, and no stage waits for another prompt.
Chance comes only from hashes of (seed, prompt, what is drawn), so a prompt's row doesn't depend on its neighbours.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from base.digest import seed_of
from base.together import together
from constitution import Constitution, Principle, sample
from critic.chats.reasoning import split
from critic.engine import Completion, Engine, Lane, Request, Sampling, no_answer
from critic.judging.aggregate import aggregate
from critic.judging.base import Question
from critic.judging.jury import Jury
from critic.messages import is_blank
from critic.pairing import Pairing, pair
from critic.records import Chain, Drop, Judgement, Line, Prompt, Response, Row
from critic.revise import revise
from critic.settings.judging import Pooling
from critic.settings.run import Strategy


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
    pooling: Pooling = field(default_factory=Pooling)
    ranking: bool = False
    lane: Lane = "batch"

    async def run(self, line: Line) -> Row:
        """Take one line of the input all the way. Raises `EngineError` where a call it needs can't be answered."""
        prompt, given = line.item.prompt, line.item.responses
        cut = [Drop(what="prompt", reason="truncated", detail=f"{line.cut} characters")] if line.cut else []
        if line.left_off:
            cut.append(Drop(what="response", reason="given_answer", detail="the chat ended with an answer"))
        if line.thoughts:
            cut.append(Drop(what="response", reason="thoughts", detail=f"of {line.thoughts} turns or answers"))
        if given:
            chains: tuple[Chain, ...] = ()
            candidates, drops = _usable([_apart(response) for response in given])
            compared = list(combinations(range(len(candidates)), 2))
        else:
            responses, drops = await self._sample(prompt)
            chains = await self._revise(prompt, responses)
            candidates, compared = self._candidates(chains)
            drops += [drop for chain in chains for drop in _revision_drops(chain)]
        judgements = await self._judge(prompt, candidates, compared)
        best_of_n = self.strategy == "best-of-n" and not given
        paired = pair(candidates, judgements, Pairing(best_of_n, self.ranking, self.pooling))
        return Row(
            row=line.row,
            where=line.where,
            prompt=prompt,
            chains=chains,
            candidates=tuple(candidates),
            judgements=tuple(judgements),
            rankings=paired.rankings,
            pairs=paired.pairs,
            drops=(*cut, *drops, *_equal_sides(candidates, compared), *paired.drops),
        )

    async def _sample(self, prompt: Prompt) -> tuple[list[Response], list[Drop]]:
        """Ask the policy N times, each time with its own seed. What holds no answer is dropped."""

        async def one(number: int) -> Completion:
            seed = seed_of(self.seed, prompt.key, "sample", number)
            return await self.policy.complete(Request(prompt.messages, self.policy_sampling, seed), self.lane)

        written = await together(one(number) for number in range(self.samples))
        thoughts = {number: no_answer(answer) for number, answer in enumerate(written) if answer.reasoning is not None}
        return _usable([self._response(answer) for answer in written], thoughts)

    def _response(self, answer: Completion) -> Response:
        name = self.policy.identity.name
        return Response(text=answer.text.strip(), model=name, finish=answer.finish, reasoning=answer.reasoning)

    async def _revise(self, prompt: Prompt, responses: Sequence[Response]) -> tuple[Chain, ...]:
        """Revise every response for the set number of rounds, each round under one applicable principle."""

        async def one(number: int, response: Response) -> Chain:
            drawn = revised_by(self.constitution, prompt, number, self.revisions, self.seed)
            seeds = [seed_of(self.seed, prompt.key, "revise", number, r) for r in range(len(drawn))]
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
            verdict = aggregate(votes, principles, self.pooling)
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

        asked = judged_by(self.constitution, prompt, number, self.judge_principles, self.seed)
        return await together(one(group, principles) for group, principles in asked.items())


def principles_by_group(constitution: Constitution, prompt: Prompt) -> dict[str | None, list[Principle]]:
    """The principles that apply to a prompt, by group; one empty group if none does."""
    groups: dict[str | None, list[Principle]] = {}
    for principle in constitution.principles:
        if principle.applies(prompt.tags):
            groups.setdefault(principle.group.id if principle.group else None, []).append(principle)
    return groups or {None: []}


def judged_by(
    constitution: Constitution, prompt: Prompt, number: int, count: int | None, seed: int
) -> dict[str | None, tuple[Principle, ...]]:
    """The principles that judge comparison ``number`` of a prompt, by group: ``count`` of each, or all."""
    return {
        group: sample(principles, seed=seed, prompt=f"{prompt.key}:judge", round=number, k=count)
        for group, principles in principles_by_group(constitution, prompt).items()
    }


def revised_by(
    constitution: Constitution, prompt: Prompt, number: int, rounds: int, seed: int
) -> tuple[Principle, ...]:
    """The principles under which answer ``number`` to a prompt is revised, one a round; none where none applies."""
    applicable = [p for p in constitution.principles if p.applies(prompt.tags)]
    key = f"{prompt.key}:{number}"
    return tuple(sample(applicable, seed=seed, prompt=key, round=r, k=1)[0] for r in range(rounds if applicable else 0))


def _apart(given: Response) -> Response:
    """A response that came with its thoughts in its text: they are no part of the answer."""
    text, reasoning = split(given.text)
    return given if reasoning is None else given.model_copy(update={"text": text.strip(), "reasoning": reasoning})


def _usable(
    responses: Iterable[Response], thoughts: Mapping[int, str] | None = None
) -> tuple[list[Response], list[Drop]]:
    """Return the responses that hold an answer, and a drop for each other one.

    ``thoughts`` says of those that came with reasoning why they would hold nothing else.
    """
    usable, drops = [], []
    for number, response in enumerate(responses):
        why = (thoughts or {}).get(number)
        if not is_blank(response.text):
            usable.append(response)
        elif why is not None:
            drops.append(Drop(what="response", reason="no_answer", detail=f"response {number}: {why}"))
        else:
            drops.append(Drop(what="response", reason="empty_response", detail=f"response {number}"))
    return usable, drops


def _equal_sides(candidates: Sequence[Response], compared: Iterable[tuple[int, int]]) -> Iterator[Drop]:
    for first, second in compared:
        if candidates[first].text == candidates[second].text:
            yield Drop(what="pair", reason="equal_sides", detail=f"candidates {first} and {second}")


def _revision_drops(chain: Chain) -> Iterator[Drop]:
    for revision in chain.revisions:
        if revision.outcome != "revised":
            detail = f"round {revision.critique.round}, principle {revision.critique.principle}"
            detail += f": {revision.detail}" if revision.detail else ""
            yield Drop(what="revision", reason=revision.outcome, detail=detail)

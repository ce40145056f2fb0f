"""A dry run: the very pipeline, on an engine that answers nothing and counts what it would have been asked.

So the plan can't disagree with the run. It is an upper bound: every answer is as long as it may be, and no critique
ends with "nothing to revise". Of many rows alike, the first go through the pipeline, and the others make as many calls;
their tokens are estimated by their lengths.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from critic.calls.ledger import Budget, MemoryLedger, RecordedEngine
from critic.engine import (
    Choices,
    Completion,
    Decision,
    Identity,
    Lane,
    Node,
    Read,
    Request,
    Reward,
    Score,
    Usage,
    reads,
)
from critic.engine_kinds.capabilities import NO, THINKS
from critic.engines import Spec, kinds
from critic.judging.jury import Jury
from critic.local.rewards import capability
from critic.messages import Message
from critic.pipeline import Pipeline
from critic.records import Line, Quarantined
from critic.server.server_options import prices

# English text in the tokenizers of current models; a plan is an estimate.
CHARACTERS_PER_TOKEN = 4
# What is estimated for a row by its length.
FIGURES = (
    *("completions", "reads", "completion_tokens", "prompt_tokens", "cost"),
    *("thought_tokens", "thought_cost", "plain_tokens"),
)
# Rows of one kind that are planned one by one: enough for a line through their lengths, in a few seconds.
PLANNED = 100


@dataclass(slots=True)
class Plan:
    """What a run would do at most. Tokens are estimates, at `CHARACTERS_PER_TOKEN`.

    ``cost`` is that of the engines with prices, in US dollars; None where none has any. ``reasons`` counts rows that
    are quarantined before any call, and ``first`` has the first of each reason.

    What only an open engine knows stands apart, to be added where it is so: ``thought_tokens`` and ``thought_cost``
    where servers' models think before they answer, ``plain_tokens`` of prompts where local models take the plain path,
    on which nothing is shared.
    """

    rows: int = 0
    quarantined: int = 0
    completions: int = 0
    reads: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    thought_tokens: int = 0
    thought_cost: float = 0.0
    plain_tokens: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """Recorded calls: completions, and reads of score trees."""
        return self.completions + self.reads


def embedded_seconds(plan: Plan, *, amx: bool) -> float:
    """How long the embedded model takes on two cores: prompt tokens and generated tokens a second, as measured."""
    read, written = (3000, 345) if amx else (750, 100)
    return plan.prompt_tokens / read + plan.completion_tokens / written


async def plan(pipeline: Pipeline, lines: Iterable[Line | Quarantined], total: Plan) -> None:
    """Add to ``total`` what ``pipeline`` would ask for ``lines``. Its engines are `CountingEngine`, of that total."""
    kinds: dict[tuple[object, ...], _Alike] = {}
    for line in lines:
        if isinstance(line, Quarantined):
            total.quarantined += 1
            total.reasons[line.reason] += 1
            total.first.setdefault(line.reason, f"{line.where}: {line.detail}")
            continue
        alike = kinds.setdefault(_kind(line), _Alike())
        if alike.rows >= PLANNED:
            alike.add_estimate(_length(line), total)
            continue
        before = _figures(total)
        # A ledger a row: what a row asks twice is answered once, and memory doesn't grow with the rows.
        memory, budget = MemoryLedger(), Budget()
        policy, critic = (RecordedEngine(engine, memory, budget) for engine in (pipeline.policy, pipeline.critic))
        jury = Jury(
            tuple(replace(juror, engine=RecordedEngine(juror.engine, memory, budget)) for juror in pipeline.jury.jurors)
        )
        await replace(pipeline, policy=policy, critic=critic, jury=jury).run(line)
        total.rows += 1
        alike.learn(_length(line), [after - then for after, then in zip(_figures(total), before, strict=True)])


def _kind(line: Line) -> tuple[object, ...]:
    """Return what decides how many calls a row makes: its tags (which principles apply), its turns and its answers."""
    prompt = line.item.prompt
    return (tuple(sorted(prompt.tags)), len(prompt.messages), len(line.item.responses))


def _length(line: Line) -> int:
    texts = [message.content for message in line.item.prompt.messages]
    texts += [response.text for response in line.item.responses]
    return sum(map(len, texts))


def _figures(plan: Plan) -> list[float]:
    return [getattr(plan, name) or 0 for name in FIGURES]


class _Alike:
    """Rows of one kind: the line of each figure (see `_figures`) over the rows' lengths, by least squares."""

    def __init__(self) -> None:
        self.rows = 0
        self._lengths = self._squares = 0.0
        self._sums, self._products = [0.0] * len(FIGURES), [0.0] * len(FIGURES)

    def learn(self, length: int, figures: list[float]) -> None:
        """Add a row that was planned."""
        self.rows += 1
        self._lengths += length
        self._squares += length * length
        for place, figure in enumerate(figures):
            self._sums[place] += figure
            self._products[place] += figure * length

    def add_estimate(self, length: int, total: Plan) -> None:
        """Add to ``total`` what a row of this length would ask for."""
        total.rows += 1
        for place, name in enumerate(FIGURES):
            before, more = getattr(total, name), self._at(place, length)
            if before is not None:
                setattr(total, name, before + (more if isinstance(before, float) else round(more)))

    def _at(self, place: int, length: int) -> float:
        mean, middle = self._sums[place] / self.rows, self._lengths / self.rows
        spread = self._squares / self.rows - middle * middle
        together = self._products[place] / self.rows - mean * middle
        return max(0.0, mean + (together / spread * (length - middle) if spread > 0 else 0.0))


class CountingEngine:
    """Stands for the engine of ``spec``: answers with a placeholder as long as the request allows, and counts.

    As a reward model it has all the ``heads`` that the constitution needs. ``is_plain`` says whether its model takes
    the plain path; None where that is not known.
    """

    def __init__(self, spec: Spec, total: Plan, heads: tuple[str, ...], is_plain: bool | None = None) -> None:
        thinks = {THINKS: NO} if spec.thinks is False else {}
        self.capabilities: Mapping[str, str] = capability(heads) | thinks
        self.identity = Identity(str(spec), "")
        self.whole_trees = kinds()[spec.kind].whole_trees
        self._priced = prices(dict(spec.options), str(spec))
        self.usage = Usage()
        if self._priced is not None:
            self.usage.input_price, self.usage.output_price = self._priced
        self._total, self._heads, self._room = total, heads, spec.room
        self._is_plain = is_plain if kinds()[spec.kind].proves else False

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        self._total.completions += 1
        self._count(_tokens("".join(message.content for message in request.messages)), request.sampling.max_tokens)
        self._total.thought_tokens += self._room
        self._total.thought_cost += self.usage.price(0, self._room)
        text = f"{request.seed} ".ljust(request.sampling.max_tokens * CHARACTERS_PER_TOKEN, ".")
        return Completion(text, "length")

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        wanted = [read for _, read, _ in reads(tree)]
        self._total.reads += len(wanted)
        decisions = sum(isinstance(read, Decision) for read in wanted)
        shared, alone = _tree_tokens(tree), _tokens_alone(tree)
        self._count(alone if self._is_plain else shared, decisions if self.whole_trees else len(wanted))
        self._total.plain_tokens += alone - shared if self._is_plain is None else 0
        return tuple(Score((0.0,) * self._width(read), 1) for read in wanted)

    async def close(self) -> None:
        pass

    def _width(self, read: Read) -> int:
        if isinstance(read, Choices):
            return len(read.texts)
        if isinstance(read, Decision):
            return read.answers
        return len(self._heads) if isinstance(read, Reward) else 1

    def _count(self, prompt_tokens: int, completion_tokens: int) -> None:
        self._total.prompt_tokens += prompt_tokens
        self._total.completion_tokens += completion_tokens
        if self._priced is not None:
            self._total.cost = (self._total.cost or 0.0) + self.usage.price(prompt_tokens, completion_tokens)


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def _tree_tokens(node: Node) -> int:
    """Return the tokens of a tree, where shared beginnings count once; a decision is charged for all that it reads."""
    decided = [(path, read) for path, read, _ in reads(node) if isinstance(read, Decision)]
    if decided:
        return sum(_tokens(_contents(path)) + _tokens(_question(read)) for path, read in decided)
    own = _tokens("".join(message.content for message in node.messages))
    return own + sum(_tree_tokens(child) for child in node.children)


def _tokens_alone(node: Node) -> int:
    """Return the tokens of a tree's chats, where nothing is shared."""
    return sum(_tokens(_contents(path)) for path, _, _ in reads(node))


def _contents(path: Sequence[Message]) -> str:
    return "".join(message.content for message in path)


def _question(read: Decision) -> str:
    return read.instructions + "".join(option.name + option.description for option in read.options)

"""A dry run: the very pipeline, on an engine that answers nothing and counts what it would have been asked.

So the plan can't disagree with the run. It is an upper bound: every answer is as long as it may be, and no critique
ends with "nothing to revise".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from critic.engines import Spec
from critic.engines.base import (
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
from critic.engines.ledger import Budget, MemoryLedger, RecordedEngine
from critic.engines.rewards import capability
from critic.engines.server_options import prices
from critic.judging.jury import Jury
from critic.pipeline import Pipeline
from critic.records import Line, Quarantined

# English text in the tokenizers of current models; a plan is an estimate.
CHARACTERS_PER_TOKEN = 4


@dataclass(slots=True)
class Plan:
    """What a run would do at most. Tokens are estimates, at `CHARACTERS_PER_TOKEN`.

    ``cost`` is that of the engines with prices, in US dollars; None where none has any.
    """

    rows: int = 0
    quarantined: int = 0
    completions: int = 0
    reads: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None

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
    for line in lines:
        if isinstance(line, Quarantined):
            total.quarantined += 1
            continue
        # A ledger a row: what a row asks twice is answered once, and memory doesn't grow with the rows.
        memory, budget = MemoryLedger(), Budget()
        policy, critic = (RecordedEngine(engine, memory, budget) for engine in (pipeline.policy, pipeline.critic))
        jury = Jury(
            tuple(replace(juror, engine=RecordedEngine(juror.engine, memory, budget)) for juror in pipeline.jury.jurors)
        )
        await replace(pipeline, policy=policy, critic=critic, jury=jury).run(line)
        total.rows += 1


class CountingEngine:
    """Stands for the engine of ``spec``: answers with a placeholder as long as the request allows, and counts.

    As a reward model it has all the ``heads`` that the constitution needs.
    """

    def __init__(self, spec: Spec, total: Plan, heads: tuple[str, ...]) -> None:
        self.capabilities: Mapping[str, str] = capability(heads)
        self.identity = Identity(str(spec), "")
        self.whole_trees = spec.kind != "openai"  # a server is paid for a shared beginning each time
        self._priced = prices(dict(spec.options), str(spec))
        self.usage = Usage()
        if self._priced is not None:
            self.usage.input_price, self.usage.output_price = self._priced
        self._total, self._heads = total, heads

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        self._total.completions += 1
        self._count(_tokens("".join(message.content for message in request.messages)), request.sampling.max_tokens)
        text = f"{request.seed} ".ljust(request.sampling.max_tokens * CHARACTERS_PER_TOKEN, ".")
        return Completion(text, "length")

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        wanted = [read for _, read, _ in reads(tree)]
        self._total.reads += len(wanted)
        decisions = sum(isinstance(read, Decision) for read in wanted)
        self._count(_tree_tokens(tree), decisions if self.whole_trees else len(wanted))
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
        return sum(_tokens("".join(m.content for m in path)) + _tokens(_question(read)) for path, read in decided)
    own = _tokens("".join(message.content for message in node.messages))
    return own + sum(_tree_tokens(child) for child in node.children)


def _question(read: Decision) -> str:
    return read.instructions + "".join(option.name + option.description for option in read.options)

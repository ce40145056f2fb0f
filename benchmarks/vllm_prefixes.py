"""Votes of the `vllm` engine against vLLM without a prefix cache, one prompt a vote: 16 principles in both orders.

Both sides are in process, with the same settings but for the cache and, on CPUs, its blocks: ours are of 32 tokens,
the other side's of vLLM's own 128. Each is asked for all votes of a round at once, and ours finds its cache empty. The
limit is the ratio of the tokens where whole blocks that prompts begin with alike are computed once.
"""

import asyncio
import dataclasses
import json
import subprocess
import time
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from benchmarks.figures import Alternated, Measurement, alternate
from benchmarks.peers.vllm_server import PYTHON
from benchmarks.prefix_tree import judge_tree, probability
from critic.engine import Node, Score
from critic.vllm.process_log import ProcessLog

TITLE = "vLLM's prefix cache"
PAIRS, RUNS = 2, 3
SHORT = {"PAIRS": 1, "RUNS": 2}
SHARE = 0.7  # of the limit, which is to be reached
APART = 1e-3
ROOT = Path(__file__).parents[1]


def measure() -> list[Measurement]:
    """Run both sides in a process of the environment that has vLLM."""
    if not PYTHON.is_file():
        raise SystemExit("this benchmark needs `make vllm`")
    command = [str(PYTHON), "-c", f"from benchmarks.vllm_prefixes import child; child({PAIRS}, {RUNS})"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    rates, limit, dtype = Alternated(*told["rates"]), told["limit"], told["dtype"]
    note = f"limit {limit:.2f} by blocks of {told['block']} tokens; {rates.spread}"
    return [
        Measurement(f"vllm engine ({dtype})", rates.a, "votes/s"),
        Measurement(f"vLLM, one prompt a vote, no prefix cache ({dtype})", rates.b, "votes/s"),
        Measurement("vllm engine / one prompt a vote", rates.ratio, "x", SHARE * limit, note),
        Measurement("tokens computed / tokens at the limit", told["computed"], "x", 1.0, "", "at most"),
        Measurement(
            "largest difference of a vote's probability",
            told["apart"],
            "",
            APART,
            f"{told['votes']} votes",
            "at most",
        ),
    ]


def child(pairs: int, runs: int) -> None:
    """Time both sides in turn, and print the figures."""
    with asyncio.Runner() as runner:
        sides = runner.run(opened(pairs))
        runner.run(sides.ours())
        runner.run(sides.alone())
        rates = alternate(lambda: runner.run(sides.ours()), lambda: runner.run(sides.alone()), runs)
        print(json.dumps({"rates": rates} | sides.told()))
        runner.run(sides.close())


async def opened(pairs: int) -> "PrefixSides":
    """Load the model on both sides."""
    from critic.local import embedded
    from critic.vllm.opening import open_engine
    from critic.vllm.process import arguments, start
    from critic.vllm.settings import settings

    options = {"context": "2048", "kv_gib": "2"}
    engine = open_engine(str(embedded.fetch()), settings(options, "embedded"))
    mine = arguments(embedded.fetch(), settings(options, "ours"))
    other = dataclasses.replace(mine, enable_prefix_caching=False, block_size=None)
    log = ProcessLog()
    with log.taking():
        return PrefixSides(engine, start(other, is_shown=False), log, pairs)


class PrefixSides:
    """Both sides, and what their last rounds read."""

    def __init__(self, engine: Any, other: Any, log: ProcessLog, pairs: int) -> None:
        self._engine, self._other, self._log = engine, other, log
        self._trees = [judge_tree(pair, swapped) for pair in range(pairs) for swapped in (False, True)]
        self._sent: list[tuple[Any, Any]] = []
        self._generate = engine._llm.generate
        engine._llm.generate = self._recorded
        self._read: dict[str, list[float]] = {}
        self._computed = 0

    async def ours(self) -> float:
        """Read all trees through the engine, and return the votes a second."""
        await self._engine._llm.reset_prefix_cache()
        self._sent, before, began = [], self._engine.usage.prompt_tokens, time.perf_counter()
        scores = await asyncio.gather(*map(self._score, self._trees))
        seconds = time.perf_counter() - began
        self._computed = self._engine.usage.prompt_tokens - before
        self._read["ours"] = [probability(score) for of_tree in scores for score in of_tree]
        return len(self._sent) / seconds

    async def alone(self) -> float:
        """Ask the other side for the same votes, and return its votes a second."""
        began = time.perf_counter()
        self._read["alone"] = await asyncio.gather(*(self._ask(n, *sent) for n, sent in enumerate(self._sent)))
        return len(self._sent) / (time.perf_counter() - began)

    def told(self) -> dict[str, object]:
        """What is to be told besides the rates."""
        config = self._engine._llm.vllm_config
        block = config.cache_config.block_size
        prompts = [prompt["prompt_token_ids"] for prompt, _ in self._sent]
        limit = computed(prompts, block)
        apart = max(abs(a - b) for a, b in zip(self._read["ours"], self._read["alone"], strict=True))
        return {
            "limit": sum(map(len, prompts)) / limit,
            "computed": self._computed / limit,
            "block": block,
            "dtype": str(config.model_config.dtype).removeprefix("torch."),
            "apart": apart,
            "votes": len(prompts),
        }

    async def close(self) -> None:
        """End all processes."""
        await self._engine.close()
        self._other.shutdown()
        self._log.close()
        del self._other  # else it would be shut down once more when the interpreter ends, and fail at that

    async def _score(self, tree: Node) -> tuple[Score, ...]:
        scores: tuple[Score, ...] = await self._engine.score(tree)
        return scores

    def _recorded(self, prompt: Any, params: Any, *rest: Any, **named: Any) -> Any:
        self._sent.append((prompt, params))
        return self._generate(prompt, params, *rest, **named)

    async def _ask(self, number: int, prompt: Any, params: Any) -> float:
        [output] = [out async for out in self._other.generate(prompt, params, f"alone {number}")]
        logprobs = output.outputs[0].logprobs[0]
        return probability(Score(tuple(logprobs[target].logprob for target in params.logprob_token_ids), 0))


def computed(prompts: Sequence[Sequence[int]], block: int) -> int:
    """How many tokens are left to compute where the whole blocks that prompts begin with alike are computed once."""
    total = 0
    for number, prompt in enumerate(prompts):
        alike = max((common(prompt, other) for other in prompts[:number]), default=0)
        total += len(prompt) - min(alike, len(prompt) - 1) // block * block
    return total


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two prompts begin with alike."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False))))

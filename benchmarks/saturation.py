"""`cai generate` with policy and judge on one vLLM in its process tree, against that vLLM alone on the same requests.

The run's own side has stages that wait for each other, 64 prompts at a time, and commits every answer to disk. The
other side is handed all of the run's requests at once, in the order in which the run sent them: the same token ids and
sampling, each as long as it was. Both sides find vLLM's prefix cache empty. Loading is counted on neither side.
"""

import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.cost_curve import CONSTITUTION
from benchmarks.figures import Alternated, Measurement, alternate
from benchmarks.peers.vllm_server import PYTHON

TITLE = "Saturation of vLLM"
PROMPTS, RUNS = 200, 4
SHORT = {"PROMPTS": 80, "RUNS": 2}
TARGET = 1.15
ROOT = Path(__file__).parents[1]
SETTINGS = {"samples": 2, "revisions": 0, "judge_principles": 1, "max_tokens": 12}


@dataclass(eq=False)
class Sent:
    """A request as vLLM got it, and how many tokens it wrote."""

    prompt: Any
    params: Any
    written: int = 0


def measure() -> list[Measurement]:
    """Run both sides in a process of the environment that has vLLM."""
    if not PYTHON.is_file():
        raise SystemExit("this benchmark needs `make vllm`")
    command = [str(PYTHON), "-c", f"from benchmarks.saturation import child; child({PROMPTS}, {RUNS})"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    times, tokens = (
        Alternated(*told["times"]),
        f"{told['prompt_tokens']:,} prompt and {told['written']:,} new tokens",
    )
    return [
        Measurement(f"cai generate, {PROMPTS} prompts, {told['requests']} requests", times.a, "s", note=tokens),
        Measurement("vLLM alone, all requests at once", times.b, "s"),
        Measurement("cai generate / vLLM alone", times.ratio, "x", TARGET, times.spread, "at most"),
    ]


def child(prompts: int, runs: int) -> None:
    """Time both sides in turn, and print the figures."""
    from critic.local import embedded
    from critic.vllm.opening import open_engine
    from critic.vllm.settings import settings

    options = {"context": "2048", "kv_gib": "4"}
    with asyncio.Runner() as runner, tempfile.TemporaryDirectory() as name:
        engine = runner.run(_async(open_engine, str(embedded.fetch()), settings(options, "embedded")))
        sides = SaturationSides(engine, Path(name), prompts)
        runner.run(sides.ours(4))
        runner.run(sides.alone())
        times = alternate(lambda: runner.run(sides.ours(prompts)), lambda: runner.run(sides.alone()), runs)
        runner.run(engine.close())
    written = sum(sent.written for sent in sides.sent)
    read = sum(len(sent.prompt["prompt_token_ids"]) for sent in sides.sent)
    print(json.dumps({"times": times, "requests": len(sides.sent), "prompt_tokens": read, "written": written}))


class SaturationSides:
    """Both sides on one engine; ``sent`` holds what the last run sent to vLLM."""

    def __init__(self, engine: Any, folder: Path, prompts: int) -> None:
        self._engine, self._folder, self._runs = engine, folder, 0
        self._generate = engine._llm.generate
        engine._llm.generate = self._recorded
        self.sent: list[Sent] = []
        (folder / "one.yaml").write_text(CONSTITUTION)
        lines = (f"What is number {i} good for? Say it in a few words.\n" for i in range(prompts))
        (folder / "prompts.txt").write_text("".join(lines))

    async def ours(self, prompts: int) -> float:
        """Run `cai generate` in a directory of its own, and return its seconds."""
        from critic.run import run
        from critic.run.request import RunRequest

        await self._engine._llm.reset_prefix_cache()
        self.sent, self._runs = [], self._runs + 1
        request = RunRequest(
            str(self._folder / "one.yaml"),
            str(self._folder / "prompts.txt"),
            ("vllm:kept",),
            "vllm:kept",
            settings=SETTINGS,
            limit=prompts,
        )
        kept = mock.patch.object(run, "open_engine", lambda spec: self._engine)
        open_still = mock.patch.object(self._engine, "close", mock.AsyncMock())
        with kept, open_still:
            outcome = await run.run(request, self._folder / f"out {self._runs}")
        if outcome.progress.rows != prompts or outcome.calls != len(self.sent):
            raise AssertionError(f"{outcome.calls} calls, {len(self.sent)} requests: {outcome.progress}")
        return outcome.seconds

    async def alone(self) -> float:
        """Hand vLLM all requests of the last run at once, and return its seconds."""
        await self._engine._llm.reset_prefix_cache()
        began = time.monotonic()
        await asyncio.gather(*(self._repeat(number, sent) for number, sent in enumerate(self.sent)))
        return time.monotonic() - began

    async def _repeat(self, number: int, sent: Sent) -> None:
        params = sent.params.clone()
        params.max_tokens, params.stop_token_ids, params._all_stop_token_ids = sent.written, [], set()
        params.logprobs = None  # ours asks for them to notice arithmetic that failed
        async for _ in self._generate(sent.prompt, params, f"alone {number}", priority=1):
            pass

    async def _recorded(self, prompt: Any, params: Any, number: str, **named: Any) -> AsyncIterator[Any]:
        sent = Sent(prompt, params)
        self.sent.append(sent)
        async for output in self._generate(prompt, params, number, **named):
            sent.written = len(output.outputs[0].token_ids)
            yield output


async def _async(function: Any, *arguments: Any) -> Any:
    return function(*arguments)

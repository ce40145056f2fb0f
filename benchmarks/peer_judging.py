"""Verdicts a second against distilabel 1.5.3: one vLLM server, the embedded model, the same 64 pairs, one principle.

A verdict is one pair in one order. Ours are those of `cai judge` in mode ``logprob``, both orders, each on disk before
the run goes on. distilabel's are those of its tasks UltraFeedback and PrometheusEval through its OpenAI client, all
pairs at once, with the longest answers that it writes by default; each follows a rationale. Beside them: 16 principles
in both orders, which is 32 votes for its one verdict, and mode ``cot`` with a rationale as long as UltraFeedback's.

A round takes the sides that are compared in turn, every other round backward; our further figures are taken once, after
the first round. Every text is new to the server's cache: each round has pairs of its own, and so have our further
figures. Opening engines and writing exports isn't counted on either side. The
limit beside a figure is what the server could do by tokens alone, at its own pace with nothing to wait for: the prompt
tokens that were not in its cache, and the tokens written.
"""

import asyncio
import json
import random
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Measurement
from benchmarks.peers import vllm_server
from benchmarks.peers.vllm_server import MODEL, ServerPace, counters, spent
from critic.run.request import RunRequest
from critic.run.run import run

TITLE = "Verdicts against distilabel"
PAIRS, PRINCIPLES, ROUNDS = 64, 16, 3
FURTHER = 64  # pairs of our further figures
SHORT = {"PAIRS": 32, "ROUNDS": 2, "FURTHER": 8}
PEER_TOKENS = 128  # distilabel's default, which holds both of UltraFeedback's ratings
TARGET = 4.0
COMPARED = ("ours", "UltraFeedback", "PrometheusEval")  # on the same pairs
ROOT = Path(__file__).parents[1]
PEER = ROOT / ".venv-peers" / "bin" / "python"
RUBRIC = """[Which response is more helpful: does it do what was asked, plainly and correctly?]
Score 1: It does nothing of what was asked.
Score 2: It does little of what was asked.
Score 3: It does some of what was asked.
Score 4: It does most of what was asked.
Score 5: It does all that was asked."""


@dataclass(frozen=True, slots=True)
class MeasuredSide:
    """One side's pass over one round's pairs. ``read`` verdicts could be parsed; the tokens are the server's."""

    verdicts: int
    read: int
    seconds: float
    prompt_tokens: int
    written_tokens: int

    @property
    def rate(self) -> float:
        """Verdicts a second."""
        return self.verdicts / self.seconds

    def limit(self, pace: ServerPace) -> float:
        """Verdicts a second by tokens alone."""
        return self.verdicts / (self.prompt_tokens / pace.prompt + self.written_tokens / pace.written)


@dataclass(frozen=True, slots=True)
class PromptPair:
    """A prompt with two answers."""

    prompt: str
    answers: tuple[str, str]


Side = Callable[[Path, list[PromptPair]], MeasuredSide]


def measure() -> list[Measurement]:
    """See the module's docstring."""
    if not PEER.is_file() or not vllm_server.PYTHON.is_file():
        raise SystemExit("this benchmark needs `make vllm` and `make peers`")
    with tempfile.TemporaryDirectory() as name, vllm_server.started(Path(name), PAIRS) as url:
        pace = vllm_server.pace(url, PAIRS, PEER_TOKENS)
        sides: dict[str, Side] = {
            "ours": judge(url, "logprob", 1),
            "UltraFeedback": distilabel(url, "UltraFeedback"),
            "PrometheusEval": distilabel(url, "PrometheusEval"),
            "16 principles": judge(url, "logprob", PRINCIPLES),
            "cot": judge(url, f"cot?max_tokens={PEER_TOKENS}", 1),
        }
        rounds = [play(sides, Path(name), number) for number in range(ROUNDS)]
    return figures(rounds, pace)


def play(sides: dict[str, Side], folder: Path, number: int) -> dict[str, MeasuredSide]:
    """One round: every side that is compared once, odd rounds backward; in the first, the others too."""
    measured = {}
    names = list(sides) if number == 0 else [name for name in sides if name in COMPARED]
    for name in names if number % 2 == 0 else reversed(names):
        drawn = pairs(f"round {number}") if name in COMPARED else pairs(f"round {number}, {name}")[:FURTHER]
        measured[name] = sides[name](folder / f"{number} {name}", drawn)
        print(f"round {number}, {name}: {measured[name]}", flush=True)
    return measured


def figures(rounds: list[dict[str, MeasuredSide]], pace: ServerPace) -> list[Measurement]:
    """Medians over the rounds, and the median of the rounds' ratios."""

    def rate(name: str, title: str, what: str) -> Measurement:
        mine = [measured[name] for measured in rounds if name in measured]
        read = median(m.read / m.verdicts for m in mine)
        written = median(m.written_tokens / m.verdicts for m in mine)
        limit = median(m.limit(pace) for m in mine)
        note = f"limit {limit:.2f}; {read:.0%} could be read; {written:.0f} tokens written a verdict"
        return Measurement(title, median(m.rate for m in mine), what, note=note)

    def ratio(peer: str) -> Measurement:
        times = [measured["ours"].rate / measured[peer].rate for measured in rounds]
        limit = median(measured["ours"].limit(pace) / measured[peer].limit(pace) for measured in rounds)
        note = f"limit {limit:.2f}; runs {min(times):.2f} to {max(times):.2f}"
        return Measurement(f"cai judge / {peer}", median(times), "x", TARGET, note)

    more = rounds[0]["16 principles"].seconds / FURTHER / (rounds[0]["UltraFeedback"].seconds / PAIRS)
    return [
        Measurement("the server alone, reading", pace.prompt, "tokens/s"),
        Measurement("the server alone, writing", pace.written, "tokens/s", note=f"{PAIRS} answers at once"),
        rate("ours", "cai judge, logprob", "verdicts/s"),
        rate("UltraFeedback", "distilabel UltraFeedback", "verdicts/s"),
        rate("PrometheusEval", "distilabel PrometheusEval", "verdicts/s"),
        ratio("UltraFeedback"),
        ratio("PrometheusEval"),
        rate("16 principles", f"cai judge, logprob, {PRINCIPLES} principles", "votes/s"),
        Measurement(f"time for {2 * PRINCIPLES} votes a pair / UltraFeedback's for one verdict", more, "x"),
        rate("cot", f"cai judge, cot, at most {PEER_TOKENS} tokens", "verdicts/s"),
    ]


def _example(name: str) -> list[Any]:
    return [json.loads(line) for line in (ROOT / "examples" / name).read_text("utf-8").splitlines()]


def pairs(draw: str) -> list[PromptPair]:
    """Prompts of the examples, each with two answers of five sentences that are drawn from the examples' answers."""
    prompts, rows = _example("prompts.jsonl"), _example("answers.jsonl")
    asked = [row["prompt"] for row in prompts if isinstance(row.get("prompt"), str)]
    sentences = sorted({s for row in rows for answer in row["responses"] for s in answer.split(". ")})
    rng = random.Random(draw)
    answers = [". ".join(rng.sample(sentences, 5)) for _ in range(2 * PAIRS)]
    return [PromptPair(asked[i % len(asked)], (answers[2 * i], answers[2 * i + 1])) for i in range(PAIRS)]


def judge(url: str, mode: str, principles: int) -> Side:
    """`cai judge` with so many principles a pair."""

    def side(folder: Path, pairs: list[PromptPair]) -> MeasuredSide:
        folder.mkdir()
        rows = [json.dumps({"prompt": pair.prompt, "responses": pair.answers}) for pair in pairs]
        (folder / "pairs.jsonl").write_text("\n".join(rows), "utf-8")
        spec = f"openai:{MODEL}@{url}?timeout=600"
        settings = {"judge_principles": principles}
        request = RunRequest("hhh@1.0.0", str(folder / "pairs.jsonl"), (spec,), None, (mode,), settings)
        before = counters(url)
        outcome = asyncio.run(run(request, folder / "out"))
        votes, unread = outcome.results.statistics.votes, int(outcome.results.statistics.unreadable.total)
        if votes != 2 * principles * len(pairs):
            raise AssertionError(f"{votes} votes on {len(pairs)} pairs: {outcome.progress}")
        return MeasuredSide(votes, votes - unread, outcome.seconds, *spent(before, counters(url)))

    return side


def distilabel(url: str, task: str) -> Side:
    """One of distilabel's tasks, in a process of its own."""

    def side(folder: Path, pairs: list[PromptPair]) -> MeasuredSide:
        rows = [{"instruction": pair.prompt, "generations": pair.answers} for pair in pairs]
        job = {"url": url, "model": MODEL, "task": task, "max_tokens": PEER_TOKENS, "rubric": RUBRIC, "pairs": rows}
        before = counters(url)
        command = [str(PEER), str(ROOT / "benchmarks" / "peers" / "distilabel_judge.py")]
        done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"distilabel failed:\n{done.stderr[-3000:]}")
        told = json.loads(done.stdout.splitlines()[-1])
        return MeasuredSide(len(pairs), told["parsed"], told["seconds"], *spent(before, counters(url)))

    return side

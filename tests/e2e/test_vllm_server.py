"""The `openai` engine against a vLLM server with the embedded model, beside the `hf` engine on the same weights."""

import asyncio
import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from constitution import load
from constitution.errors import InputError
from critic.engines import hf
from critic.engines.base import Choices, Completion, Engine, Node, Request, RequestTooLong, Sampling, Score
from critic.engines.openai import open_engine
from critic.judging.base import Question
from critic.judging.logprob import Logprob
from critic.judging.verdict import SCHEMA, parse_verdict
from critic.records import Message, Prompt, Vote
from tests.conftest import unavailable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
MODEL = "org/embedded"
KEY = "sk-only-for-this-test"
STARTING_SECONDS = 300
TOKENS = 12
ASKED = (
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "Name three fruits.",
    "How do I boil an egg?",
    "What is 2 plus 3?",
    "Tell me a short joke.",
    "Why is the sky blue?",
    "What do bees make?",
)
# The chat of this one ends with the beginning of an answer.
BEGUN = (Message(role="user", content=ASKED[0]), Message(role="assistant", content="The capital of"))

UNLIKELY = Node((Message(role="user", content=ASKED[0]),), Choices(("Q", "Z")))


def greedy(*messages: Message) -> Request:
    return Request(messages, Sampling(TOKENS, temperature=0.0), seed=0)


def user(text: str) -> Message:
    return Message(role="user", content=text)


def comparisons() -> list[Question]:
    """Two comparisons, one of them with a blunt difference."""
    principles = load(str(ROOT / "principles" / "harmlessness" / "1.0.0.yaml")).principles[:3]
    sides = (("Paris.", "I hate you. Go away."), ("It is the city of Paris, on the Seine.", "It is Lyon."))
    return [Question(Prompt(messages=(user(ASKED[0]),)), first, second, principles, 0) for first, second in sides]


async def votes(engine: Engine) -> list[Vote]:
    return [vote for question in comparisons() for vote in await Logprob().votes(engine, question)]


class Reference(NamedTuple):
    """What the `hf` engine makes of the same requests."""

    answers: list[Completion]
    votes: list[Vote]
    unlikely: tuple[Score, ...]


@pytest.fixture(scope="module")
def reference(embedded_model: Path) -> Reference:
    """In float32, and computed before the server takes the processors."""

    async def compute() -> Reference:
        engine = hf.open_engine(str(embedded_model), {"dtype": "float32"})
        try:
            asked = [greedy(user(text)) for text in ASKED] + [greedy(*BEGUN)]
            answers = list(await asyncio.gather(*map(engine.complete, asked)))
            return Reference(answers, await votes(engine), await engine.score(UNLIKELY))
        finally:
            await engine.close()

    return asyncio.run(compute())


@pytest.fixture(scope="module")
def url(reference: object, embedded_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server in a process group of its own, which ends with the tests in any case."""
    # Not resolved: through a symbolic link a virtual environment's Python would lose its packages.
    python = Path(os.environ.get("CAI_VLLM_PYTHON") or ROOT / ".venv-vllm" / "bin" / "python")
    if not python.is_file():
        unavailable(f"there is no vLLM: {python} is missing; `make vllm` installs it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--model", str(embedded_model), "--served-model-name", MODEL, "--api-key", KEY, "--dtype", "float32"]
    command += ["--enforce-eager", "--max-model-len", "2048", "--max-num-seqs", "16", "--block-size", "32"]
    # vLLM on CPUs can't compute a prompt that has a seed in several pieces: the server dies of it.
    command += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", "4096"]
    quiet = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            command,
            cwd=log.parent,  # away from this project's folder, whose packages it must not import
            env=os.environ | quiet,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        stop(server)


def wait(health: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the server is ready; fail with the end of its log where it never is."""
    until = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(health, timeout=5).close()
            return
        time.sleep(0.5)
    pytest.fail(f"the vLLM server did not start; its log ends:\n{log.read_text(errors='replace')[-3000:]}")


def stop(server: "subprocess.Popen[bytes]") -> None:
    """End the server and all processes that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(20)
        os.killpg(server.pid, signal.SIGKILL)
    server.wait(20)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest_asyncio.fixture
async def engine(url: str, key: None) -> AsyncIterator[Engine]:
    opened = open_engine(f"{MODEL}@{url}", {})
    yield opened
    await opened.close()


def test_the_server_s_key_and_model_are_checked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    with pytest.raises(InputError, match="OPENAI_API_KEY, which is set, but refused"):
        open_engine(f"{MODEL}@{url}", {})
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(InputError, match=f"It serves: {MODEL}"):
        open_engine(f"embedded@{url}", {})


async def test_what_the_server_can_do_is_found_at_opening(engine: Engine) -> None:
    assert engine.capabilities == {
        "server": "vllm",
        "context length": "2048",
        "model": MODEL,
        "log-probabilities": "by token id",
        "structured output": "json_schema",
        "continued answers": "yes",
    }


async def test_answers_are_held_to_a_schema(engine: Engine) -> None:
    asked = [Request((user(ASKED[i]),), Sampling(64), i, SCHEMA) for i in range(4)]
    texts = [answer.text for answer in await asyncio.gather(*map(engine.complete, asked))]
    assert all(parse_verdict(text) is not None for text in texts), texts


async def test_greedy_answers_are_those_of_the_hf_engine(engine: Engine, reference: Reference) -> None:
    # Both compute in float32, so equal to the last token but for a tie: all but one whole, that one in its beginning.
    expected = reference.answers
    asked = [greedy(user(text)) for text in ASKED] + [greedy(*BEGUN)]
    answers = await asyncio.gather(*map(engine.complete, asked))
    assert [a.prompt_tokens for a in answers] == [e.prompt_tokens for e in expected]
    assert sum(a.text == e.text and a.finish == e.finish for a, e in zip(answers, expected, strict=True)) >= 8
    assert all(a.text[:10] == e.text[:10] for a, e in zip(answers, expected, strict=True))
    assert "Paris" in answers[-1].text and not answers[-1].text.startswith("The capital")


async def test_vote_probabilities_are_those_of_the_hf_engine(engine: Engine, reference: Reference) -> None:
    read = await votes(engine)
    assert [(v.principle, v.order) for v in read] == [(v.principle, v.order) for v in reference.votes]
    gaps = [abs(probability(a) - probability(b)) for a, b in zip(read, reference.votes, strict=True)]
    assert max(gaps) < 0.05
    assert len({round(probability(vote), 2) for vote in read}) > 3  # they differ, so the agreement says something


async def test_choices_are_read_however_unlikely_they_are(engine: Engine, reference: Reference) -> None:
    (score,), (expected,) = await engine.score(UNLIKELY), reference.unlikely
    assert score.values == pytest.approx(expected.values, abs=0.01)
    assert min(score.values) < -7  # so not among the 20 likeliest tokens


def probability(vote: Vote) -> float:
    assert vote.log_odds is not None, vote.raw
    return 1 / (1 + math.exp(-vote.log_odds))


async def test_a_seed_fixes_an_answer_and_another_seed_gives_another(engine: Engine) -> None:
    seeds = (1, 1, 2, 3)
    asked = [Request((user(ASKED[5]),), Sampling(24), seed) for seed in seeds]
    texts = [answer.text for answer in await asyncio.gather(*map(engine.complete, asked))]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1


async def test_control_tokens_in_a_prompt_are_text(engine: Engine) -> None:
    one_token = await engine.complete(greedy(user("x")))
    control = await engine.complete(greedy(user("<|im_end|>")))
    assert control.prompt_tokens >= one_token.prompt_tokens + 4  # as a control token it would be one


async def test_a_prompt_longer_than_the_context_is_told_as_such(engine: Engine) -> None:
    with pytest.raises(RequestTooLong, match="2048"):
        await engine.complete(greedy(user("word " * 3000)))


def test_cai_generate_on_the_server(url: str, key: None, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("\n".join(ASKED[:4]) + "\n")
    spec = f"openai:{MODEL}@{url}"
    command = [str(Path(sys.executable).with_name("cai")), "generate", "--principles", "harmlessness@1.0.0"]
    command += ["--prompts", "prompts.txt", "--out", "out", "--policy", spec, "--judge", spec, "--mode", "logprob"]
    command += ["--judge-principles", "2", "--max-tokens", "24", "--judge-max-tokens", "24"]

    def generate() -> dict[str, bytes]:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
        assert KEY not in done.stdout + done.stderr
        return {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}

    first = generate()
    assert not [name for name, content in first.items() if KEY.encode() in content]
    rows = [json.loads(line) for line in first["feedback.jsonl"].splitlines()]
    read = [vote for row in rows if row["kind"] == "comparison" for vote in row["votes"]]
    assert len(read) == 4 * 2 * 2  # prompts, principles, orders
    assert {vote["judge"] for vote in read} == {MODEL}
    # This judge's letters are often not among the likeliest tokens; they are read all the same, and not as impossible.
    assert all(vote["log_odds"] is not None and abs(vote["log_odds"]) < 30 for vote in read)

    # The server's identity is the same when it is opened again, so the run is known, and nothing is asked twice.
    again = generate()
    assert {name: again[name] for name in again if name.endswith(".jsonl")} == {
        name: first[name] for name in first if name.endswith(".jsonl")
    }

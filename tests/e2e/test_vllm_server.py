"""The `openai` engine against a vLLM server with the embedded model; `test_parity` has it beside the other engines."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from base.errors import InputError
from critic.engine import Engine, Request, RequestTooLong, Sampling
from critic.engines import open_engine as open_any
from critic.engines import parse_spec
from critic.judging.modes.verdict import SCHEMA, parse_verdict
from critic.records import Message
from critic.server.chat_opening import open_engine
from tests.e2e.vllm_server import KEY, MODEL

pytestmark = pytest.mark.slow

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


def greedy(*messages: Message) -> Request:
    return Request(messages, Sampling(TOKENS, temperature=0.0), seed=0)


def user(text: str) -> Message:
    return Message(role="user", content=text)


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


@pytest.mark.parametrize(("kind", "said"), [("systemone", "501: The model does not support"), ("decisions", "404")])
def test_what_has_no_typed_decisions_is_told_with_what_works_there(url: str, key: None, kind: str, said: str) -> None:
    with pytest.raises(InputError) as told:
        open_any(parse_spec(f"{kind}:{MODEL}@{url}"))
    assert f"the server answers {said}" in told.value.problem
    assert f"openai:{MODEL}@{url} in --mode logprob" in (told.value.fix or "")


async def test_what_the_server_can_do_is_found_at_opening(engine: Engine) -> None:
    capabilities = dict(engine.capabilities)
    assert 0.1 < float(capabilities.pop("label mass")) <= 1  # the model's own; how it rounds is the processor's
    assert capabilities == {
        "server": "vllm",
        "context length": "2048",
        "model": MODEL,
        "log-probabilities": "by token id",
        "structured output": "json_schema",
        "continued answers": "yes",
        "likelihoods of texts": "none",
        "answers vary by": "the server's batches, prefix cache and version",
        "thinks first": "no",
    }


async def test_answers_are_held_to_a_schema(engine: Engine) -> None:
    asked = [Request((user(ASKED[i]),), Sampling(64), i, SCHEMA) for i in range(4)]
    texts = [answer.text for answer in await asyncio.gather(*map(engine.complete, asked))]
    assert all(parse_verdict(text) is not None for text in texts), texts


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
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
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
    expected = {name: first[name] for name in first if name.endswith(".jsonl")}
    assert {name: again[name] for name in again if name.endswith(".jsonl")} == expected

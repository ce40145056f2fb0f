"""One model's weights through three engines, in float32: `hf` and `vllm` in process, `openai` on a vLLM server."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import combinations, islice
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from constitution import load
from critic.engine import Choices, Completion, Engine, Node, Request, Sampling, Score
from critic.files.inputs import read_pairs, read_prompts
from critic.judging.base import Question
from critic.judging.modes.contrast import Contrast
from critic.judging.modes.logprob import Logprob
from critic.local import language_model as hf
from critic.records import Item, Line, Message, Quarantined, Vote
from critic.server import chat_opening as openai
from tests.e2e.remote_engine import RemoteEngine
from tests.e2e.vllm_server import MODEL

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TOKENS = 32
# The chat of this one ends with the beginning of an answer.
BEGUN = (
    Message(role="user", content="What is the capital of France?"),
    Message(role="assistant", content="The capital of"),
)
# The largest difference of a vote's probability; 5e-6 was seen.
TOLERANCE = 1e-4


class Answers(NamedTuple):
    """What an engine makes of the same requests."""

    completions: list[Completion]
    votes: list[Vote]
    contrasts: list[Vote]
    unlikely: Score


@pytest.fixture(scope="module")
def expected(embedded_model: Path) -> Answers:
    """The `hf` engine's answers, computed one engine at a time: vLLM would take the processors meanwhile."""

    async def compute() -> Answers:
        engine = hf.open_engine(str(embedded_model), {"dtype": "float32"})
        try:
            return Answers(await answers(engine), await votes(engine), await contrasts(engine), await unlikely(engine))
        finally:
            await engine.close()

    return asyncio.run(compute())


@pytest_asyncio.fixture
async def served(expected: Answers, url: str, key: None) -> AsyncIterator[Engine]:
    engine = openai.open_engine(f"{MODEL}@{url}", {})
    yield engine
    await engine.close()


def greedy() -> list[Request]:
    chats = [item.prompt.messages for item in items(read_prompts, "prompts.jsonl", 8)]
    return [Request(chat, Sampling(TOKENS, temperature=0.0), seed=0) for chat in (*chats, BEGUN)]


def questions() -> list[Question]:
    principles = load(str(ROOT / "principles" / "harmlessness" / "1.0.0.yaml")).principles[:4]
    return [
        Question(item.prompt, item.responses[0].text, item.responses[1].text, principles, seed=0)
        for item in items(read_pairs, "answers.jsonl", 3)
    ]


def items(read: Callable[..., Iterator[Line | Quarantined]], file: str, count: int) -> list[Item]:
    lines = islice(read(str(ROOT / "examples" / file), max_chars=32_000, truncate=False), count)
    return [line.item for line in lines if isinstance(line, Line)]


async def answers(engine: Engine) -> list[Completion]:
    return await asyncio.gather(*map(engine.complete, greedy()))


async def votes(engine: Engine) -> list[Vote]:
    by_question = await asyncio.gather(*(Logprob().votes(engine, question) for question in questions()))
    return [vote for votes in by_question for vote in votes]


async def contrasts(engine: Engine) -> list[Vote]:
    return list(await Contrast().votes(engine, questions()[0]))


async def unlikely(engine: Engine) -> Score:
    """Read two letters, of which one is not among the 20 likeliest tokens."""
    [score] = await engine.score(Node(BEGUN[:1], Choices(("Q", "Z"))))
    return score


def probability(vote: Vote) -> float:
    assert vote.log_odds is not None, vote.raw
    return 1 / (1 + math.exp(-vote.log_odds))


def apart(votes: Sequence[Vote], others: Sequence[Vote]) -> float:
    """The largest difference of two votes' probabilities."""
    expected = [(v.principle, v.order) for v in others]
    assert [(v.principle, v.order) for v in votes] == expected
    return max(abs(probability(a) - probability(b)) for a, b in zip(votes, others, strict=True))


async def test_vllm_in_process_writes_what_hf_writes(expected: Answers, vllm_engine: RemoteEngine) -> None:
    assert await answers(vllm_engine) == expected.completions


async def test_vllm_in_process_votes_as_hf_does(expected: Answers, vllm_engine: RemoteEngine) -> None:
    assert apart(await votes(vllm_engine), expected.votes) < TOLERANCE
    assert len({round(probability(vote), 2) for vote in expected.votes}) > 8  # so the agreement says something


async def test_choices_are_read_however_unlikely_they_are(
    expected: Answers, vllm_engine: RemoteEngine, served: Engine
) -> None:
    values = pytest.approx(expected.unlikely.values, abs=1e-3)
    assert min(expected.unlikely.values) < -7
    assert (await unlikely(vllm_engine)).values == values
    assert (await unlikely(served)).values == values


async def test_vllm_in_process_contrasts_as_hf_does(expected: Answers, vllm_engine: RemoteEngine) -> None:
    assert apart(await contrasts(vllm_engine), expected.contrasts) < TOLERANCE
    assert all(abs(vote.log_odds or 0) > 0.1 for vote in expected.contrasts)


async def test_a_vllm_server_writes_what_hf_writes(expected: Answers, served: Engine) -> None:
    served_answers = await answers(served)
    wanted = [(e.text, e.finish, e.prompt_tokens) for e in expected.completions]
    assert [(a.text, a.finish, a.prompt_tokens) for a in served_answers] == wanted


async def test_a_vllm_server_votes_as_hf_does(expected: Answers, served: Engine) -> None:
    assert apart(await votes(served), expected.votes) < TOLERANCE


async def test_one_comparison_s_votes_are_the_same_through_all_three(
    expected: Answers, vllm_engine: RemoteEngine, served: Engine
) -> None:
    """Printed with ``pytest -s``: the table in docs/DECISIONS.md."""
    by_engine = {"hf": expected.votes, "vllm": await votes(vllm_engine), "openai": await votes(served)}
    one = len(questions()[0].principles) * 2  # the first comparison's votes, in both orders
    for votes_of_place in list(zip(*by_engine.values(), strict=True))[:one]:
        place = votes_of_place[0]
        told = " | ".join(f"{probability(vote):.6f}" for vote in votes_of_place)
        print(f"| `{place.principle}` | {place.order} | {told} |")
    worst = {f"{a} and {b}": apart(by_engine[a], by_engine[b]) for a, b in combinations(by_engine, 2)}
    print(worst)
    assert max(worst.values()) < TOLERANCE

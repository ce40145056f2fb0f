"""A vLLM server with a tiny Qwen3 that thinks first: typed decisions, and the letters that judges read."""

import math
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import torch
from transformers import AutoTokenizer, Qwen3ForCausalLM

from constitution import load
from critic.engines import open_engine, parse_spec
from critic.engines.base import Decision, DecisionType, Engine, Node, Score, reads
from critic.judging.base import Question
from critic.judging.decision import DecisionMode
from critic.records import Line
from critic.run.inputs import read_pairs
from tests.e2e.thinking_model import CONTEXT, make
from tests.e2e.vllm_server import served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
NAME = "org/thinks"
# The largest difference of a probability, in float32 on both sides; 2e-6 was seen.
TOLERANCE = 1e-4
ENDS = {
    "choice": "Answer with the letter of one option only.",
    "predicate": "Answer with yes or no only.",
    "score": "Answer with the number of one level only.",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("thinks"))


@pytest.fixture(scope="module")
def thinking(vllm_python: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of the model that thinks first."""
    with served(vllm_python, model, tmp_path_factory.mktemp("vllm") / "server.log", NAME, CONTEXT) as found:
        yield found


@pytest_asyncio.fixture
async def decides(thinking: str, key: None) -> AsyncIterator[Engine]:
    engine = open_engine(parse_spec(f"systemone:{NAME}@{thinking}"))
    yield engine
    await engine.close()


def question() -> Question:
    principles = load(str(ROOT / "principles" / "harmlessness" / "1.0.0.yaml")).principles[:4]
    lines = read_pairs(str(ROOT / "examples" / "answers.jsonl"), max_chars=32_000, truncate=False)
    item = next(line.item for line in lines if isinstance(line, Line))
    return Question(item.prompt, item.responses[0].text, item.responses[1].text, principles, seed=0)


def rendered(text: str, read: Decision) -> str:
    """The user's turn that vLLM makes of a typed question, written from its documentation."""
    match read.type:
        case "choice":
            labelled = [f"{label}: {option.name}" for label, option in zip("ABCDEFGH", read.options, strict=False)]
        case "score":
            labelled = [f"{place}: {option.name}" for place, option in enumerate(read.options)]
        case "predicate":
            labelled = ["yes", "no"]
    return "\n".join([f"{text}\n\nQuestion: {read.instructions}", *labelled, ENDS[read.type]])


def labels(read: Decision) -> list[str]:
    every = {"choice": list("AB"), "predicate": ["yes", "no"], "score": [str(i) for i in range(10)]}
    return every[read.type][: read.answers]


class Direct:
    """The model's own probabilities of what comes first in its answer, where it does not think."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def read(self, text: str, names: list[str], system: str | None = None) -> tuple[list[float], float, int]:
        """Return the probabilities of ``names`` among themselves, that of any of them, and the prompt's tokens."""
        chat = [{"role": "system", "content": system}] if system else []
        chat.append({"role": "user", "content": text})
        ids = self.tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, enable_thinking=False, return_tensors="pt", return_dict=True
        )["input_ids"]
        with torch.no_grad():
            likely = self.model(ids).logits[0, -1].double().softmax(-1)
        found = [likely[self.tokenizer.convert_tokens_to_ids(name)].item() for name in names]
        return [value / sum(found) for value in found], sum(found), ids.shape[1]


def trees(ask: DecisionType) -> list[Node]:
    mode, asked = DecisionMode(ask=ask), question()
    return [mode._tree(asked, text) for text in mode._texts(asked)]


def probabilities(score: Score) -> list[float]:
    return [math.exp(value) for value in score.values]


@pytest.mark.parametrize("ask", ["choice", "predicate", "score"])
async def test_systemone_says_what_a_direct_read_of_its_prompt_says(
    decides: Engine, model: Path, ask: DecisionType
) -> None:
    direct = Direct(model)
    for tree in trees(ask):
        before = decides.usage.prompt_tokens
        scores = await decides.score(tree)
        tokens = 0
        for (path, read, _), score in zip(reads(tree), scores, strict=True):
            assert isinstance(read, Decision)
            expected, mass, count = direct.read(rendered(path[0].content, read), labels(read))
            tokens += count
            assert probabilities(score) == pytest.approx(expected, abs=TOLERANCE)
            assert score.mass == pytest.approx(mass, rel=1e-3)
            assert score.confidence == pytest.approx(max(expected) * mass, rel=1e-3)
        assert decides.usage.prompt_tokens - before == tokens  # so it is that very prompt

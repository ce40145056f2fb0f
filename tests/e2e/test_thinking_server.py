"""A vLLM server with a tiny Qwen3 that thinks first: typed decisions, and the letters that judges read."""

import json
import math
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import torch
from transformers import AutoTokenizer, Qwen3ForCausalLM

from constitution import load
from critic import prompts
from critic.engine import Decision, DecisionType, Engine, Node, Score, reads
from critic.engines import open_engine, parse_spec
from critic.files.inputs import read_pairs
from critic.judging.base import Question
from critic.judging.modes.decision import DecisionMode
from critic.judging.modes.logprob import comparison_mark
from critic.records import Line
from tests.e2e.thinking_model import CONTEXT, make
from tests.e2e.vllm_server import served

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NAME = "org/thinks"
# The largest difference of a probability, in float32 on both sides; 7e-7 was seen.
TOLERANCE = 1e-4
# The table of the docs has three digits.
ROUNDING = 0.002
TABLE_ROW = re.compile(r"\| `([\w-]+)` \| (given|swapped) \|" + r" (\d\.\d+) \|" * 4)
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
    with served(vllm_python, model, tmp_path_factory.mktemp("vllm") / "server.log", NAME, CONTEXT) as address:
        yield address


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
        page = self.tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, enable_thinking=False, tokenize=False
        )
        ids = torch.tensor([self.tokenizer.encode(str(page), add_special_tokens=False)])
        with torch.no_grad():
            likely = self.model(ids).logits[0, -1].double().softmax(-1)
        probabilities = [likely[self.tokenizer.convert_tokens_to_ids(name)].item() for name in names]
        return [value / sum(probabilities) for value in probabilities], sum(probabilities), ids.shape[1]


def trees(ask: DecisionType) -> list[Node]:
    mode, asked = DecisionMode(ask=ask), question()
    return [mode._tree(asked, text) for text in mode._texts(asked)]


def probabilities(score: Score) -> list[float]:
    return [math.exp(value) for value in score.values]


@pytest.mark.parametrize("ask", ["choice", "predicate", "score"])
async def test_systemone_says_what_a_direct_read_of_its_prompt_says(
    decides: Engine, model: Path, ask: DecisionType
) -> None:
    direct, worst = Direct(model), 0.0
    for tree in trees(ask):
        before = decides.usage.prompt_tokens
        scores = await decides.score(tree)
        tokens = 0
        for (path, read, _), score in zip(reads(tree), scores, strict=True):
            assert isinstance(read, Decision)
            expected, mass, count = direct.read(rendered(path[0].content, read), labels(read))
            tokens += count
            worst = max(worst, *(abs(a - b) for a, b in zip(probabilities(score), expected, strict=True)))
            assert probabilities(score) == pytest.approx(expected, abs=TOLERANCE)
            assert score.mass == pytest.approx(mass, rel=1e-3)
            assert score.confidence == pytest.approx(max(expected) * mass, rel=1e-3)
        assert decides.usage.prompt_tokens - before == tokens  # so it is that very prompt
    print(f"{ask}: the greatest difference of a probability is {worst:.1e}")


async def test_the_docs_have_its_probabilities_beside_ours(decides: Engine, model: Path) -> None:
    direct, asked = Direct(model), question()
    votes = await DecisionMode().votes(decides, asked)
    by_place = {}
    for vote in votes:
        assert vote.log_odds is not None and vote.mass is not None and vote.order is not None
        principle = next(p for p in asked.principles if p.id == vote.principle)
        on_first = 1 / (1 + math.exp(-vote.log_odds if vote.order == "given" else vote.log_odds))
        first, second = asked.shown()[vote.order]
        mark = comparison_mark(asked)
        page = prompts.decided_pair(asked.prompt, first, second, mark).content
        own_page, _, _ = direct.read(rendered(page, prompts.decision(principle, "choice")), ["A", "B"])
        system, conversation = prompts.conversation_parts(asked.prompt, mark)
        parts = (conversation, prompts.responses_part(first, second, mark), prompts.question_part(principle))
        ours, _, _ = direct.read("".join(part.content for part in parts), ["A", "B"], system.content)
        by_place[principle.id, vote.order] = (on_first, own_page[0], ours[0], vote.mass)
    for (name, order), values in by_place.items():
        print(f"| `{name}` | {order} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    text = (ROOT / "docs" / "DECISIONS.md").read_text()
    told = {(name, order): tuple(map(float, values)) for name, order, *values in TABLE_ROW.findall(text)}
    assert told.keys() == by_place.keys()
    for place, values in by_place.items():
        assert told[place] == pytest.approx(values, abs=ROUNDING)


def readme_s_first_example(url: str, folder: Path, options: str) -> "subprocess.CompletedProcess[str]":
    """Run it with this server as judge and as policy, on few prompts and with short answers."""
    (folder / "prompts.jsonl").write_text("".join(f'{{"prompt": "What is {i} and {i}?"}}\n' for i in range(2)))
    command = [str(Path(sys.executable).with_name("cai")), "generate", "--principles", "hhh@1.0.0"]
    command += ["--prompts", "prompts.jsonl", "--policy", f"openai:{NAME}@{url}?think=false"]
    command += ["--judge", f"openai:{NAME}@{url}{options}", "--samples", "4", "--strategy", "best-of-n"]
    command += ["--revisions", "2", "--out", "run", "--mode", "logprob"]
    command += ["--judge-principles", "2", "--max-tokens", "24", "--judge-max-tokens", "24"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)


def test_a_judge_that_thinks_first_is_told_at_opening(thinking: str, key: None, tmp_path: Path) -> None:
    done = readme_s_first_example(thinking, tmp_path, "")
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert re.search(r"puts \d(\.\d)?e-0\d on A, B together, which logprob reads; it seems to think first", said)
    assert "?think=false" in said
    assert not (tmp_path / "run" / "feedback.jsonl").exists()


def test_a_judge_that_is_told_not_to_think_puts_its_mass_on_the_letters(
    thinking: str, key: None, tmp_path: Path
) -> None:
    done = readme_s_first_example(thinking, tmp_path, "?think=false")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run" / "feedback.jsonl").read_text().splitlines()]
    votes = [vote for row in rows if row["kind"] == "comparison" for vote in row["votes"]]
    assert len(votes) >= 2 * 2 * 2  # prompts, principles, orders
    assert all(vote["log_odds"] is not None and vote["mass"] > 0.9 for vote in votes)

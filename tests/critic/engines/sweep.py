"""Every causal type of transformers through the `hf` engine: what it judges and writes, against the model alone.

``python -m tests.critic.engines.sweep`` writes `docs/MODELS.md`, the table of the paths that the types take.
"""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from base.errors import InputError
from critic.engine import Completion, Node, OwnTokens, Request, Sampling, Score
from critic.local.language_model import HfEngine, open_engine
from critic.records import Message
from tests import zoo

TABLE = Path(__file__).parents[3] / "docs" / "MODELS.md"
_QUESTION = Message(role="user", content="Which of the two answers is better, and why would you say so? " * 2)
_ANSWERS = ("Yes, the first of them, because it is short.", "No. Neither is.")
_WRITTEN = 12
_TOLERANCE = 2e-3
_HEAD = """# Models in this process

This table lists every causal model type of transformers, and the path on which an engine (`hf:`) computes it. The
models were tiny, with random weights. When an engine opens a model, it compares the paths below with the model's own
forward pass, and takes the first one that is right:

- **packed**: trees of chats lie in one row, so that every shared token is computed once; answers are written together.
- **plain**: each chat is computed on its own, with the model's own forward pass, attention and cache. This is slower,
  because nothing is shared.
- **rereading**: for each token that is written, the whole chat is read again. Types without a cache need this.
- **refused**: the engine refuses the model when it opens, and says why: the type predicts a token differently if other
  tokens follow it.
- **not built**: the test could not build a tiny model of this type, so nothing is known about it here. The check when
  the engine opens still decides.

`python -m tests.critic.engines.sweep` writes this file.

| type | judging | writing |
|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one type: the paths it took, and how far it was from the model alone."""

    scoring: str
    writing: str = ""
    difference: float = 0.0
    same_text: bool = True

    @property
    def is_right(self) -> bool:
        """Whether nothing was wrong in silence."""
        return self.same_text and self.difference <= _TOLERANCE

    def row(self, model_type: str) -> str:
        """Return the type's row of the table."""
        return f"| {model_type} | {self.scoring} | {self.writing} |"


def outcome(model_type: str) -> Outcome:
    """Build a tiny model of ``model_type``, open an engine, and compare what it says with the model alone."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            zoo.tiny(model_type, Path(folder))
        except Exception:  # what transformers says where a configuration is not one of its models
            return Outcome("not built")
        return _opened(Path(folder))


def table(outcomes: dict[str, Outcome]) -> str:
    """Return the text of `TABLE`."""
    rows = (outcome.row(name) for name, outcome in sorted(outcomes.items()))
    return _HEAD + "\n".join(rows) + "\n"


def _opened(folder: Path) -> Outcome:
    try:
        engine = open_engine(str(folder), {"dtype": "float32", "device": "cpu"})
    except InputError:
        return Outcome("refused")
    scores, written = asyncio.run(_asked(engine))
    kind: Literal["eager"] | None = "eager" if _is_capped(engine) else None
    alone = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=kind).eval()
    paths = [engine.capabilities[use].split()[0] for use in ("scoring", "writing")]
    gaps = [abs(score.values[0] - _own(alone, text)) for score, text in zip(scores, _ANSWERS, strict=True)]
    return Outcome(paths[0], paths[1], max(gaps), written.text == _greedy(alone))


def _is_capped(engine: HfEngine) -> bool:
    """Whether transformers' own default leaves out a cap on the attention's scores."""
    return getattr(engine._worker._model.config.get_text_config(), "attn_logit_softcapping", None) is not None


async def _asked(engine: HfEngine) -> tuple[tuple[Score, ...], Completion]:
    answers = tuple(Node((Message(role="assistant", content=text),), OwnTokens()) for text in _ANSWERS)
    try:
        scores = await engine.score(Node((_QUESTION,), children=answers))
        return scores, await engine.complete(Request((_QUESTION,), Sampling(_WRITTEN, 0.0), seed=1))
    finally:
        await engine.close()


def _prompt() -> list[int]:
    tokenizer = zoo.tokenizer()
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": _QUESTION.content}], tokenize=False, add_generation_prompt=True
    )
    return list(tokenizer.encode(str(text), add_special_tokens=False))


@torch.inference_mode()
def _own(alone: PreTrainedModel, answer: str) -> float:
    """Return the log-probability of ``answer`` after the prompt."""
    prompt = _prompt()
    ids = zoo.tokenizer().encode(answer, add_special_tokens=False)
    logprobs = alone(torch.tensor([[*prompt, *ids]]), use_cache=False).logits[0].float().log_softmax(-1)
    return sum(float(logprobs[len(prompt) + k - 1, token]) for k, token in enumerate(ids))


@torch.inference_mode()
def _greedy(alone: PreTrainedModel) -> str:
    """Write the likeliest tokens, each after the whole chat has been read anew."""
    prompt, ids = _prompt(), list[int]()
    end = alone.generation_config.eos_token_id if alone.generation_config else None
    while len(ids) < _WRITTEN:
        token = int(alone(torch.tensor([[*prompt, *ids]]), use_cache=False).logits[0, -1].argmax())
        if token == end:
            break
        ids.append(token)
    return str(zoo.tokenizer().decode(ids, skip_special_tokens=True))


if __name__ == "__main__":
    TABLE.write_text(table({name: outcome(name) for name in zoo.TYPES}), encoding="utf-8")

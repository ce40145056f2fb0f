"""``samples.jsonl``: what a policy answers to a few prompts before and after training, with the same seeds."""

import asyncio
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from base.digest import seed_of
from base.errors import InputError
from base.together import together
from critic.engine import EngineError, Request, Sampling
from critic.local.language_model import HfEngine
from critic.local.loading import Loaded
from critic.local.trees import attention
from critic.records import Prompt
from critic.run.folder.results import replace_text

FILE = "samples.jsonl"
PROMPTS = 6
SHARE = 0.05
"""The most that the samples before, and those after, may cost of a run's time."""
WRITTEN_COSTS = 3
"""How many tokens are trained on while one is written: on two cores 1,000 and 345 a second, by the embedded model."""
_FEWEST = 20
log = logging.getLogger(__name__)
SAMPLING = Sampling(max_tokens=96, temperature=0.7)


def affordable(budget: int) -> tuple[int, Sampling]:
    """Return how many prompts are answered, and how, in ``budget`` tokens: fewer prompts first, then shorter answers.

    Below some twenty tokens there is nothing to see, and none is.
    """
    tokens = min(SAMPLING.max_tokens, budget)
    if tokens < _FEWEST:
        return 0, SAMPLING
    return min(PROMPTS, budget // tokens), replace(SAMPLING, max_tokens=tokens)


class Samples:
    """The samples of one run, of ``budget`` tokens at most before it and after it.

    They stand in its folder from the first start on, where the next start finds them.
    """

    def __init__(self, folder: Path, prompts: Sequence[Prompt], seed: int, budget: int) -> None:
        self._file, self._seed = folder / FILE, seed
        count, self._sampling = affordable(budget)
        self._prompts = list({prompt.key: prompt for prompt in prompts}.values())[:count]
        self.rows: list[dict[str, Any]] = []

    def take(self, when: Literal["before", "after"], model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        """Let ``model``, as it is now, answer, and write the file. What was written before is kept, not made again."""
        if not self._prompts:
            return
        if when == "before" and self._file.is_file():
            self.rows = [json.loads(line) for line in self._file.read_text(encoding="utf-8").split("\n")[:-1]]
            return
        # A thread of its own: the caller's may be running an event loop, as notebooks do.
        with ThreadPoolExecutor(1) as pool:
            texts = pool.submit(
                asyncio.run, _answers(model, tokenizer, self._prompts, self._sampling, self._seed)
            ).result()
        if not self.rows:
            self.rows = []
            for prompt in self._prompts:
                self.rows.append({"prompt": [message.model_dump() for message in prompt.messages]})
        self.rows = [row | {when: text} for row, text in zip(self.rows, texts, strict=True)]
        replace_text(self._file, "".join(json.dumps(row) + "\n" for row in self.rows))


async def _answers(
    model: Any, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], sampling: Sampling, seed: int
) -> list[str | None]:
    inner: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
    training, kind = inner.training, inner.config._attn_implementation
    inner.eval()
    try:
        engine = HfEngine(Loaded(inner, tokenizer, Path(), ""), "the model in training", batch=PROMPTS)
    except InputError as error:
        log.warning("No samples are written: %s", error.problem)
        attention.attend_by(inner, kind)
        inner.train(training)
        return [None] * len(prompts)

    async def one(prompt: Prompt) -> str | None:
        try:
            return (await engine.complete(Request(prompt.messages, sampling, seed_of(seed, prompt.key)))).text
        except EngineError:  # too long a prompt, or weights that are no numbers: there is no answer to show
            return None

    try:
        return await together(one(prompt) for prompt in prompts)
    finally:
        await engine.close()
        attention.attend_by(inner, kind)
        inner.train(training)

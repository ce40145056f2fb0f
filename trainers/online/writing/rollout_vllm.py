"""Rollouts by vLLM, in processes of its own, on the weights of the policy as it is now.

At each refresh a copy of the policy is written to a temporary folder, vLLM loads it in place of what it has, and what
its prefix cache holds of the old weights is dropped. vLLM tells log-probabilities at temperature 1, whatever the one
that is drawn at: at another temperature there are none.
"""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from base.together import together
from critic.engine import EngineError, Sampling
from critic.local.loading import quiet
from critic.vllm.opening import open_engine
from critic.vllm.settings import settings
from trainers.online.writing.rollout import Copied, RolloutTask, Sample, without_answer

if TYPE_CHECKING:
    from critic.vllm.engine import VllmEngine


class VllmWriter(Copied):
    """See the module's docstring. ``context`` is how many tokens a prompt and its answer may have; see `Writer`."""

    def __init__(
        self,
        model: PreTrainedModel,
        dtype: torch.dtype,
        tokenizer: PreTrainedTokenizerBase,
        context: int,
        runner: asyncio.Runner,
    ) -> None:
        super().__init__(model, dtype)
        self._runner, self._temporary = runner, TemporaryDirectory()
        self._folder = Path(self._temporary.name)
        tokenizer.save_pretrained(self._folder)
        self._save()
        options = {"dtype": str(dtype).removeprefix("torch."), "context": str(context)}

        async def opened() -> "VllmEngine":
            return open_engine(str(self._folder), settings(options, str(self._folder)))

        self._engine = runner.run(opened())

    def refresh(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """See `trainers.online.writing.rollout.RolloutWriter`."""
        super().refresh(weights)
        self._save()
        self._runner.run(self._reload())

    def write(self, tasks: Sequence[RolloutTask]) -> list[Sample]:
        """See `trainers.online.writing.rollout.RolloutWriter`."""

        async def written() -> list[Sample]:
            return await together(self._one(task) for task in tasks)

        return self._runner.run(written())

    def close(self) -> None:
        """End vLLM's processes."""
        self._runner.run(self._engine.close())
        self._temporary.cleanup()

    def _save(self) -> None:
        with quiet():
            self.model.save_pretrained(self._folder)

    async def _reload(self) -> None:
        await self._engine._llm.collective_rpc("reload_weights", kwargs={"weights_path": str(self._folder)})
        await self._engine._llm.reset_prefix_cache()

    async def _one(self, task: RolloutTask) -> Sample:
        try:
            output = await self._engine._ask(
                task.ask.ids,
                "batch",
                max_tokens=task.max_tokens,
                temperature=task.temperature,
                seed=task.seed,
                logprobs=0,
            )
            answer = output.outputs[0]
            done = self._engine.completion(answer, task.ask.ids, Sampling(task.max_tokens, task.temperature))
        except EngineError as error:
            return Sample(task, (), (), "", problem=str(error))
        drawn = zip(answer.logprobs, answer.token_ids, strict=True) if task.temperature == 1 else ()
        logprobs = tuple(step[token].logprob for step, token in drawn)
        ended = answer.finish_reason == "stop"
        return Sample(task, tuple(answer.token_ids), logprobs, done.text, problem=without_answer(done), ended=ended)

"""Rollouts: the policy writes answers, and what it drew is kept as token ids, never as text to be tokenised again.

Each answer draws from a generator of its own, so what is written depends on weights and seeds only. Answers join and
leave a running batch (`critic.local.trees.decoding.Decoder`); the answers of one prompt share its reading.
"""

import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from critic.chats.chat import Chat
from critic.engine import Completion, Sampling, no_answer
from critic.local.proving.proof import WRITERS, Name
from critic.local.trees import attention
from critic.local.trees.decoding import GrowingAnswer
from trainers import quantized
from trainers.online.prompts import Ask

_PROMPT_TOKENS = 4096
"""How many tokens of prompts are read in one row."""


@dataclass(frozen=True, slots=True)
class RolloutTask:
    """One answer to write."""

    ask: Ask
    seed: int
    max_tokens: int
    temperature: float


@dataclass(slots=True)
class Sample:
    """One answer that was written. ``ids`` holds the token that ended it, too, if one did.

    ``logprobs`` are those of ``ids`` where they were drawn, at the sampling's temperature; none where the writer knows
    none. ``problem`` says why it
    can't be learnt from, if so: then there is no ``reward``. ``ended`` is False where it was cut at its limit; then
    ``penalty`` is what that costs. ``error`` is the standard error of the reward, where its source knows one,
    and ``parts`` are the rewards that it is made of.
    """

    task: RolloutTask
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    reward: float | None = None
    problem: str = ""
    ended: bool = True
    penalty: float = 0.0
    error: float | None = None
    parts: tuple[float, ...] = ()

    @property
    def counted(self) -> float:
        """The reward that is learnt from: less the penalty of what did not end."""
        assert self.reward is not None
        return self.reward - self.penalty


def without_answer(done: Completion) -> str:
    """Say why ``done`` holds no answer that a reward could be of; nothing where it holds one.

    An empty text is an answer, unless the model thought and came to none.
    """
    return no_answer(done) if done.reasoning is not None and not done.text.strip() else ""


class RolloutWriter(Protocol):
    """Writes with a copy of the policy."""

    def refresh(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take over these weights, by the names that they have in the model."""
        ...

    def write(self, tasks: Sequence[RolloutTask]) -> list[Sample]:
        """Return one sample for each task, in order."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class Copied:
    """A copy of ``model`` in ``dtype`` that takes over its weights."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        self.model = quantized.whole_copy(model, dtype).requires_grad_(False).eval()
        for weight in self.model.parameters():  # not its buffers: the rotary frequencies stay in float32
            weight.data = weight.data.to(dtype)
        self._weights = dict(self.model.named_parameters())

    @torch.no_grad()
    def refresh(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """See `RolloutWriter`."""
        for name, weight in weights:
            self._weights[name].copy_(weight)


class HfWriter(Copied):
    """Writes in this process, ``slots`` answers at a time. ``stop_ids`` are the tokens that end one.

    ``path`` is how the model's answers are computed: `critic.local.proving.proof` finds out which is right.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        dtype: torch.dtype,
        chat: Chat,
        stop_ids: frozenset[int],
        slots: int,
        path: Name = "packed",
    ) -> None:
        super().__init__(model, dtype)
        self.chat, self.stop_ids, self.slots, self._writer = chat, stop_ids, slots, WRITERS[path]
        attention.attend_by(self.model, attention.NAME if path == "packed" else attention.own(self.model))

    @torch.inference_mode()
    def write(self, tasks: Sequence[RolloutTask]) -> list[Sample]:
        """See `RolloutWriter`."""
        answers = [
            GrowingAnswer(
                task.ask.ids, Sampling(task.max_tokens, task.temperature), random.Random(task.seed), logprobs=[]
            )
            for task in tasks
        ]
        # A new one each time: what an earlier step left in the cache must not decide how this one is computed.
        decoder = self._writer(self.model, self.chat, self.stop_ids, min(self.slots, len(answers)))
        waiting = deque(answers)
        while waiting or decoder.answers:
            if joining := self._joining(waiting, self.slots - len(decoder.answers)):
                decoder.prefill(joining)
            else:
                decoder.step()
            for answer in [a for a in decoder.answers if a.done or a.error]:
                decoder.remove(answer)
        return [self._sample(task, answer) for task, answer in zip(tasks, answers, strict=True)]

    def close(self) -> None:
        """See `RolloutWriter`."""

    def _joining(self, waiting: deque[GrowingAnswer], free: int) -> list[GrowingAnswer]:
        """Take the next answers off the queue: as many as there are free slots, and as one row holds of prompts."""
        joining: list[GrowingAnswer] = []
        prompts: set[tuple[int, ...]] = set()
        while waiting and len(joining) < free:
            prompts.add(waiting[0].prompt)
            if joining and sum(map(len, prompts)) > _PROMPT_TOKENS:
                break
            joining.append(waiting.popleft())
        return joining

    def _sample(self, task: RolloutTask, answer: GrowingAnswer) -> Sample:
        ids = tuple(answer.ids) if answer.end is None else (*answer.ids, answer.end)
        assert answer.logprobs is not None
        if answer.done is None:
            return Sample(task, ids, tuple(answer.logprobs), "", problem=str(answer.error))
        drawn, ended = tuple(answer.logprobs), answer.end is not None
        return Sample(task, ids, drawn, answer.done.text, problem=without_answer(answer.done), ended=ended)

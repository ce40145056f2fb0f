"""Writes answers: one new token for every answer under way at each step, answers joining and leaving between steps.

Each answer draws from a random generator of its own, so its text does not depend on what else is being written.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from critic.chats.tokens import from_ids, pack
from critic.engine import Completion, EngineError, Sampling
from critic.local.trees.attention import DecodePlan, PrefillPlan
from critic.local.trees.kv_cache import KeyValueCache
from critic.local.trees.prefix_tree import run, vocabulary_head
from critic.records import Message

_NUCLEUS = 1024


@dataclass(eq=False)
class Answer:
    """One answer being written. ``error`` is set where it could not go on, ``end`` is the token that ended it.

    ``logprobs`` takes the log-probability of each token that is drawn, ``end`` included, where a list is given.
    """

    prompt: tuple[int, ...]
    sampling: Sampling
    rng: random.Random
    logprobs: list[float] | None = None
    ids: list[int] = field(default_factory=list)
    end: int | None = None
    done: Completion | None = None
    error: Exception | None = None

    @property
    def length(self) -> int:
        """Tokens whose keys and values are in the cache: all but the newest."""
        return len(self.prompt) + len(self.ids) - 1

    @property
    def need(self) -> int:
        """Tokens that it may come to hold."""
        return len(self.prompt) + self.sampling.max_tokens


class Texts(Protocol):
    """What turns chats into tokens and tokens into text (`critic.chats.chat.Chat`)."""

    def encode(self, messages: Iterable[Message]) -> tuple[int, ...]:
        """Encode a whole chat, up to the point where the assistant speaks."""
        ...

    def split(self, prompt: Sequence[int], ids: Sequence[int]) -> tuple[str, str | None]:
        """Return the answer in ``ids``, which were written after ``prompt``, and what was thought before it."""
        ...

    def thinks(self) -> bool:
        """Whether the model is to think before it answers."""
        ...

    def tell(self, capabilities: dict[str, str]) -> None:
        """Note in an engine's ``capabilities``, now and later, what users of its chats must know."""
        ...


class Writer:
    """The answers under way, at most ``slots``: what every way of writing shares. Slot i belongs to ``answers[i]``."""

    def __init__(self, model: PreTrainedModel, chat: Texts, stop_ids: frozenset[int], slots: int) -> None:
        self._model, self._chat, self._stop_ids, self._slots = model, chat, stop_ids, slots
        self.answers: list[Answer] = []

    def fits(self, answers: Sequence[Answer], cached_tokens: int) -> bool:
        """Whether ``answers`` can join without the cache growing beyond ``cached_tokens`` tokens in all."""
        everyone = [*self.answers, *answers]
        return len(everyone) <= self._slots and len(everyone) * max(a.need for a in everyone) <= cached_tokens

    @property
    def bytes_per_token(self) -> int:
        """How many bytes are kept for each token of the answers under way."""
        raise NotImplementedError  # each way of writing has its own

    def prefill(self, answers: Sequence[Answer]) -> None:
        """Read the prompts of ``answers``, and draw the first token of each."""
        raise NotImplementedError  # each way of writing has its own

    def step(self, first: int = 0, count: int | None = None) -> None:
        """Write the next token of ``count`` answers from the ``first`` on: of all of them unless told otherwise."""
        raise NotImplementedError  # each way of writing has its own

    def remove(self, answer: Answer) -> None:
        """Free the slot of ``answer``; the last answer moves into it."""
        hole, last = self.answers.index(answer), self.answers.pop()
        if last is not answer:
            self._move(len(self.answers), hole, last)
            self.answers[hole] = last

    def _move(self, source: int, target: int, answer: Answer) -> None:
        """Move what is kept of ``answer`` from one slot to another."""

    def _chosen(self, first: int, count: int | None) -> list[Answer]:
        return self.answers[first:] if count is None else self.answers[first : first + count]

    def _append(self, answers: Sequence[Answer], tokens: Sequence[int]) -> None:
        """Append one token to each answer, and end those that are finished."""
        for answer, token in zip(answers, tokens, strict=True):
            if token < 0:
                answer.error = EngineError("the model's arithmetic failed: its logits are not numbers")
            elif token in self._stop_ids:
                answer.end = token
                self._finish(answer, "stop")
            else:
                answer.ids.append(token)
                self._end_at_text_or_length(answer)

    def _end_at_text_or_length(self, answer: Answer) -> None:
        if answer.sampling.stop:
            text, _ = self._chat.split(answer.prompt, answer.ids)
            if (cut := answer.sampling.stop_in(text)) is not None:
                self._finish(answer, "stop", cut)
                return
        if len(answer.ids) >= answer.sampling.max_tokens:
            self._finish(answer, "length")

    def _finish(self, answer: Answer, finish: Literal["stop", "length"], cut: int | None = None) -> None:
        """End ``answer``, whose text ends at ``cut`` where a stop text was found there."""
        text, reasoning = self._chat.split(answer.prompt, answer.ids)
        answer.done = Completion(text[:cut], finish, len(answer.prompt), len(answer.ids), reasoning)


class Decoder(Writer):
    """Writes with packed rows: one row for all prompts, and one for the newest tokens of all answers."""

    def __init__(self, model: PreTrainedModel, chat: Texts, stop_ids: frozenset[int], slots: int) -> None:
        super().__init__(model, chat, stop_ids, slots)
        self._head = vocabulary_head(model)
        self._cache = KeyValueCache(slots)

    @property
    def bytes_per_token(self) -> int:
        """See `Writer`; known once a prompt has been read."""
        return self._cache.bytes_per_token

    def prefill(self, answers: Sequence[Answer]) -> None:
        """Read the prompts of ``answers``, all in one row and equal ones once, and draw the first token of each."""
        first = len(self.answers)
        self._cache.reserve(max(a.need for a in [*self.answers, *answers]), in_use=first)
        prompts = list(dict.fromkeys(a.prompt for a in answers))
        row = pack([from_ids(prompt) for prompt in prompts])
        slots = [[first + i for i, a in enumerate(answers) if a.prompt == prompt] for prompt in prompts]
        hidden_ND = run(
            self._model, row.ids, row.positions, PrefillPlan(row.spans, slots, self._cache, self._model.device)
        )
        last = [row.spans[prompts.index(a.prompt)].end - 1 for a in answers]
        tokens = draw(self._head(hidden_ND[last]).float(), answers)
        self.answers += answers
        self._append(answers, tokens)

    def step(self, first: int = 0, count: int | None = None) -> None:
        """Write the next token of ``count`` answers from the ``first`` on: of all of them unless told otherwise."""
        answers = self._chosen(first, count)
        plan = DecodePlan(self._cache, first, [a.length for a in answers], self._model.device)
        hidden_BD = run(self._model, [a.ids[-1] for a in answers], [a.length for a in answers], plan)
        self._append(answers, draw(self._head(hidden_BD).float(), answers))

    def _move(self, source: int, target: int, answer: Answer) -> None:
        self._cache.move(source, target, answer.length)


def draw(logits_BV: Tensor, answers: Sequence[Answer]) -> list[int]:
    """Return the next token of each answer by its own sampling parameters; -1 where its logits hold a NaN.

    Temperature 0 takes the likeliest. Otherwise one uniform number an answer is looked up in the cumulative
    probabilities, after cutting all but the ``top_p`` likeliest. ``Answer.logprobs`` are those at its temperature,
    before the cut; of greedy answers there are none.
    """
    best = logits_BV.max(-1)
    tokens: list[int] = best.indices.tolist()
    valid: list[bool] = best.values.isfinite().tolist()
    sampled = [i for i, answer in enumerate(answers) if answer.sampling.temperature > 0 and valid[i]]
    if sampled:
        heat = torch.tensor([answers[i].sampling.temperature for i in sampled], device=logits_BV.device)
        probabilities = ((logits_BV[sampled] - best.values[sampled, None]) / heat[:, None]).softmax(-1)
        for i, p_V in zip(sampled, probabilities, strict=True):
            tokens[i] = _look_up(p_V, answers[i].sampling.top_p, answers[i].rng.random())
            if (kept := answers[i].logprobs) is not None:
                kept.append(float(p_V[tokens[i]].log()))
    return [token if ok else -1 for token, ok in zip(tokens, valid, strict=True)]


def _look_up(p_V: Tensor, top_p: float, uniform: float) -> int:
    """Return the token where the cumulative probability passes ``uniform`` of the whole."""
    if top_p >= 1:
        return _passes(p_V.cumsum(-1, dtype=torch.float64), uniform)
    # The nucleus is nearly always among the likeliest thousand; sorting the whole vocabulary is slow.
    for count in (min(_NUCLEUS, len(p_V)), len(p_V)):
        top = p_V.topk(count)
        cumulative = top.values.cumsum(-1, dtype=torch.float64)
        if cumulative[-1] >= top_p:
            break
    kept = int(torch.searchsorted(cumulative, top_p)) + 1
    return int(top.indices[_passes(cumulative[:kept], uniform)])


def _passes(cumulative: Tensor, uniform: float) -> int:
    return min(int(torch.searchsorted(cumulative, uniform * cumulative[-1], right=True)), len(cumulative) - 1)

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

_NUCLEUS = (64, 1024)
"""How many of the likeliest tokens are looked at first, and then, for `top_p`."""


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
    tokens_B, finite_B = best.indices, best.values.isfinite()
    sampled = [i for i, answer in enumerate(answers) if answer.sampling.temperature > 0]
    chosen_R = torch.empty(0)
    if sampled:
        chosen_R = _drawn(logits_BV, best.values, tokens_B, [answers[i] for i in sampled], sampled)
    # What a GPU computed is asked for once, whatever the number of answers.
    tokens: list[int] = tokens_B.where(finite_B, -1).tolist()
    for i, logprob in zip(sampled, chosen_R.tolist(), strict=True):
        kept = answers[i].logprobs
        if kept is not None and tokens[i] >= 0:
            kept.append(logprob)
    return tokens


def _drawn(
    logits_BV: Tensor, best_B: Tensor, tokens_B: Tensor, answers: Sequence[Answer], rows: Sequence[int]
) -> Tensor:
    """Put the tokens that the ``answers`` at ``rows`` draw into ``tokens_B``; return their log-probabilities, ``[R]``.

    One uniform number of each answer is looked up in its own row, so that it does not matter what the others are.
    """
    device = logits_BV.device
    at_R = torch.tensor(rows, device=device)
    if len(rows) < len(logits_BV):
        logits_BV, best_B = logits_BV[at_R], best_B[at_R]
    heat_R = torch.tensor([answer.sampling.temperature for answer in answers], device=device)
    shares_RV = (logits_BV - best_B[:, None]).div_(heat_R[:, None]).softmax(-1)
    uniform_R = torch.tensor([answer.rng.random() for answer in answers], dtype=torch.float64, device=device)
    top_p = [answer.sampling.top_p for answer in answers]
    # A processor's cache holds the sums of a row, and not those of all.
    size = 1 if device.type == "cpu" else len(rows)
    parts = [slice(first, first + size) for first in range(0, len(rows), size)]
    drawn_R = torch.cat([_looked_up(shares_RV[part], top_p[part], uniform_R[part]) for part in parts])
    tokens_B[at_R] = drawn_R
    return shares_RV.gather(1, drawn_R[:, None])[:, 0].log()


def _looked_up(shares_RV: Tensor, top_p: Sequence[float], uniform_R: Tensor) -> Tensor:
    """Return the token of each row where its cumulative probability passes ``uniform_R`` of the whole, ``[R]``."""
    whole = [i for i, share in enumerate(top_p) if share >= 1]
    cut = [i for i, share in enumerate(top_p) if share < 1]
    if not cut:
        return _passes(shares_RV.cumsum(-1, dtype=torch.float64), uniform_R)
    drawn_R = torch.empty(len(top_p), dtype=torch.long, device=shares_RV.device)
    if whole:
        drawn_R[whole] = _passes(shares_RV[whole].cumsum(-1, dtype=torch.float64), uniform_R[whole])
    shares = torch.tensor([top_p[i] for i in cut], dtype=torch.float64, device=shares_RV.device)
    drawn_R[cut] = _in_nucleus(shares_RV[cut], shares, uniform_R[cut])
    return drawn_R


def _in_nucleus(shares_RV: Tensor, top_p_R: Tensor, uniform_R: Tensor) -> Tensor:
    """Return the token of each row, ``[R]``, among the likeliest that make up ``top_p_R`` of it."""
    rows, vocabulary = shares_RV.shape
    drawn_R = torch.empty(rows, dtype=torch.long, device=shares_RV.device)
    left = list(range(rows))
    # The nucleus is nearly always among a few of the likeliest; sorting the whole vocabulary is slow.
    for count in sorted({min(count, vocabulary) for count in (*_NUCLEUS, vocabulary)}):
        top = shares_RV[left].topk(count)
        cumulative_RK = top.values.cumsum(-1, dtype=torch.float64)
        last_R = torch.searchsorted(cumulative_RK, top_p_R[left, None]).clamp_(max=count - 1)
        places_R = _passes(cumulative_RK, uniform_R[left], last_R[:, 0])
        drawn_R[left] = top.indices.gather(1, places_R[:, None])[:, 0]
        if count == vocabulary:
            break
        enough: list[bool] = (cumulative_RK[:, -1] >= top_p_R[left]).tolist()
        left = [row for row, is_enough in zip(left, enough, strict=True) if not is_enough]
        if not left:
            break
    return drawn_R


def _passes(cumulative_RV: Tensor, uniform_R: Tensor, last_R: Tensor | None = None) -> Tensor:
    """Return where each row's cumulative probability passes ``uniform_R`` of what it is at ``last_R``, ``[R]``.

    That is the end of the row unless told otherwise, and nothing after it is returned.
    """
    if last_R is None:
        last_R = torch.full_like(uniform_R, cumulative_RV.shape[1] - 1, dtype=torch.long)
    totals_R1 = cumulative_RV.gather(1, last_R[:, None])
    found_R1 = torch.searchsorted(cumulative_RV, uniform_R[:, None] * totals_R1, right=True)
    return torch.minimum(found_R1[:, 0], last_R)

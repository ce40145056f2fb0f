"""Writes answers: one new token for every answer under way at each step, answers joining and leaving between steps.

Each answer draws from a random generator of its own, so its text does not depend on what else is being written.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

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
class GrowingAnswer:
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


class TextCoder(Protocol):
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


class TreeWriter:
    """The answers under way, at most ``slots``: what every way of writing shares. Slot i belongs to ``answers[i]``."""

    def __init__(self, model: PreTrainedModel, chat: TextCoder, stop_ids: frozenset[int], slots: int) -> None:
        self._model, self._chat, self._stop_ids, self._slots = model, chat, stop_ids, slots
        self.answers: list[GrowingAnswer] = []

    def fits(self, answers: Sequence[GrowingAnswer], cached_tokens: int) -> bool:
        """Whether ``answers`` can join without the cache growing beyond ``cached_tokens`` tokens in all."""
        everyone = [*self.answers, *answers]
        return len(everyone) <= self._slots and len(everyone) * max(a.need for a in everyone) <= cached_tokens

    @property
    def bytes_per_token(self) -> int:
        """How many bytes are kept for each token of the answers under way."""
        raise NotImplementedError  # each way of writing has its own

    def prefill(self, answers: Sequence[GrowingAnswer]) -> None:
        """Read the prompts of ``answers``, and draw the first token of each."""
        raise NotImplementedError  # each way of writing has its own

    def step(self, first: int = 0, count: int | None = None) -> None:
        """Write the next token of ``count`` answers from the ``first`` on: of all of them unless told otherwise."""
        raise NotImplementedError  # each way of writing has its own

    def remove(self, answer: GrowingAnswer) -> None:
        """Free the slot of ``answer``; the last answer moves into it."""
        hole, last = self.answers.index(answer), self.answers.pop()
        if last is not answer:
            self._move(len(self.answers), hole, last)
            self.answers[hole] = last

    def _move(self, source: int, target: int, answer: GrowingAnswer) -> None:
        """Move what is kept of ``answer`` from one slot to another."""

    def _chosen(self, first: int, count: int | None) -> list[GrowingAnswer]:
        return self.answers[first:] if count is None else self.answers[first : first + count]

    def _append(self, answers: Sequence[GrowingAnswer], tokens: Sequence[int]) -> None:
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

    def _end_at_text_or_length(self, answer: GrowingAnswer) -> None:
        if answer.sampling.stop:
            text, _ = self._chat.split(answer.prompt, answer.ids)
            if (cut := answer.sampling.stop_in(text)) is not None:
                self._finish(answer, "stop", cut)
                return
        if len(answer.ids) >= answer.sampling.max_tokens:
            self._finish(answer, "length")

    def _finish(self, answer: GrowingAnswer, finish: Literal["stop", "length"], cut: int | None = None) -> None:
        """End ``answer``, whose text ends at ``cut`` where a stop text was found there."""
        text, reasoning = self._chat.split(answer.prompt, answer.ids)
        answer.done = Completion(text[:cut], finish, len(answer.prompt), len(answer.ids), reasoning)


class Decoder(TreeWriter):
    """Writes with packed rows: one row for all prompts, and one for the newest tokens of all answers."""

    def __init__(self, model: PreTrainedModel, chat: TextCoder, stop_ids: frozenset[int], slots: int) -> None:
        super().__init__(model, chat, stop_ids, slots)
        self._head = vocabulary_head(model)
        self._cache = KeyValueCache(slots)

    @property
    def bytes_per_token(self) -> int:
        """See `TreeWriter`; known once a prompt has been read."""
        return self._cache.bytes_per_token

    def prefill(self, answers: Sequence[GrowingAnswer]) -> None:
        """Read the prompts of ``answers``, all in one row and equal ones once, and draw the first token of each."""
        first = len(self.answers)
        self._cache.reserve(max(a.need for a in [*self.answers, *answers]), in_use=first)
        prompts = list(dict.fromkeys(a.prompt for a in answers))
        row = pack([from_ids(prompt) for prompt in prompts])
        slots = []
        for prompt in prompts:
            slots.append([first + i for i, a in enumerate(answers) if a.prompt == prompt])
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
        lengths = [a.length for a in answers]
        hidden_BD = run(self._model, [a.ids[-1] for a in answers], lengths, plan)
        self._append(answers, draw(self._head(hidden_BD).float(), answers))

    def _move(self, source: int, target: int, answer: GrowingAnswer) -> None:
        self._cache.move(source, target, answer.length)


def draw(logits_BV: Tensor, answers: Sequence[GrowingAnswer]) -> list[int]:
    """Return the next token of each answer by its own sampling parameters; -1 where its logits hold a NaN.

    Temperature 0 takes the likeliest. Otherwise one uniform number an answer is looked up in the cumulative
    probabilities, after cutting all but the ``top_p`` likeliest. `GrowingAnswer.logprobs` are those at its temperature,
    before the cut; of greedy answers there are none.

    All answers are drawn together, so that a GPU is waited for once a step, when tokens and log-probabilities are
    fetched, and not once an answer.
    """
    best = logits_BV.max(-1)
    valid_B, tokens_B = best.values.isfinite(), best.indices
    sampled = [number for number, answer in enumerate(answers) if answer.sampling.temperature > 0]
    if not sampled:
        greedy: list[int] = tokens_B.where(valid_B, -1).tolist()
        return greedy
    device = logits_BV.device
    chosen_S = _sent(sampled, torch.long, device)
    heat_S1 = _sent([[answers[i].sampling.temperature] for i in sampled], torch.float32, device)
    p_SV = ((logits_BV[chosen_S] - best.values[chosen_S, None]) / heat_S1).softmax(-1)
    top_p_S = [answers[i].sampling.top_p for i in sampled]
    chances_S = [answers[i].rng.random() for i in sampled]
    drawn_S = _look_up(p_SV, top_p_S, _sent(chances_S, torch.float64, device))
    logprobs_S = p_SV.gather(1, drawn_S[:, None])[:, 0].log()
    tokens_B = tokens_B.index_copy(0, chosen_S, drawn_S).where(valid_B, -1)
    fetched = torch.cat([tokens_B.double(), logprobs_S.double()]).tolist()  # float64 holds both exactly
    tokens = [int(token) for token in fetched[: len(answers)]]
    for number, logprob in zip(sampled, fetched[len(answers) :], strict=True):
        kept = answers[number].logprobs
        if kept is not None and tokens[number] >= 0:
            kept.append(logprob)
    return tokens


def _sent(values: Sequence[Any], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return numbers on ``device``. `torch.tensor` there would wait until a GPU has done all that it was given."""
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)


def _look_up(p_SV: Tensor, top_p: Sequence[float], uniform_S: Tensor) -> Tensor:
    """Return the token of each row where the cumulative probability passes ``uniform_S`` of the whole: ``[S]``."""
    cut = [number for number, share in enumerate(top_p) if share < 1]
    if not cut:
        return _passing(p_SV.cumsum(-1, dtype=torch.float64), uniform_S)
    device = p_SV.device
    found_S = torch.empty(len(p_SV), dtype=torch.long, device=device)
    if len(cut) < len(top_p):
        uncut_U = _sent([number for number, share in enumerate(top_p) if share >= 1], torch.long, device)
        found_S[uncut_U] = _passing(p_SV[uncut_U].cumsum(-1, dtype=torch.float64), uniform_S[uncut_U])
    cut_C = _sent(cut, torch.long, device)
    share_C = _sent([top_p[number] for number in cut], torch.float64, device)
    found_S[cut_C] = _in_nucleus(p_SV[cut_C], share_C, uniform_S[cut_C])
    return found_S


def _in_nucleus(p_SV: Tensor, share_S: Tensor, uniform_S: Tensor) -> Tensor:
    """Return what `_look_up` does, among the likeliest tokens of each row that together reach ``share_S``.

    They are nearly always among the likeliest thousand; sorting the whole vocabulary is slow. A row that needs more is
    sorted whole, by itself: what others need must not change how its ties are ordered.
    """
    found_S, reached_S = _among_likeliest(p_SV, share_S, uniform_S, _NUCLEUS)
    wider = [number for number, reached in enumerate(reached_S.tolist()) if not reached]
    if wider:
        found_S[wider] = _among_likeliest(p_SV[wider], share_S[wider], uniform_S[wider], p_SV.shape[1])[0]
    return found_S


def _among_likeliest(p_SV: Tensor, share_S: Tensor, uniform_S: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return a token of each row among its ``count`` likeliest, and whether the nucleus lies within these: [S] each."""
    top = p_SV.topk(min(count, p_SV.shape[1]))
    cumulative_SC = top.values.cumsum(-1, dtype=torch.float64)
    last_S = torch.searchsorted(cumulative_SC, share_S[:, None])[:, 0].clamp(max=cumulative_SC.shape[1] - 1)
    places_S = _passing(cumulative_SC, uniform_S, last_S)
    return top.indices.gather(1, places_S[:, None])[:, 0], cumulative_SC[:, -1] >= share_S


def _passing(cumulative_SV: Tensor, uniform_S: Tensor, last_S: Tensor | None = None) -> Tensor:
    """Return where each row passes ``uniform_S`` of what it has reached at ``last_S``, by default in the end: [S]."""
    if last_S is None:
        last_S = torch.full_like(uniform_S, cumulative_SV.shape[1] - 1, dtype=torch.long)
    whole_S1 = cumulative_SV.gather(1, last_S[:, None])
    places_S1 = torch.searchsorted(cumulative_SV, uniform_S[:, None] * whole_S1, right=True)
    return torch.minimum(places_S1[:, 0], last_S)

"""The plain path: every chat on its own, through the model's own forward, its own attention and its own cache.

For models that can't be packed into one row with others: those with a state that runs along it, with attention that is
not replaceable, or with anything else that `critic.local.proving.proof` finds. Slower, for nothing is shared; right for
whatever the model is, because nothing is computed here.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from critic.chats.tokens import TokenTree, path
from critic.engine import Score
from critic.local.trees import attention
from critic.local.trees.decoding import GrowingAnswer, TextCoder, TreeWriter, draw
from critic.local.trees.prefix_tree import as_score

# Under these names models hand out what they keep of a chat, and take it back.
_KEPT = ("past_key_values", "cache_params", "state", "mems")


def score_trees(model: PreTrainedModel, trees: Sequence[TokenTree]) -> list[tuple[Score, ...]]:
    """Return the scores of each tree, in the order of its reads; each chat goes through the model alone."""
    with attention.attending(model, attention.own(model)):
        return [_scores(model, tree) for tree in trees]


def logprobs(model: PreTrainedModel, ids: Sequence[int], places: Sequence[int], targets: Sequence[int]) -> list[float]:
    """Return the log-probability of token ``targets[i]`` after the one at ``places[i]`` of the chat ``ids``."""
    rows = sorted(set(places))
    logits_RV = chat_logits(model, ids, rows)
    wanted = torch.tensor([rows.index(place) for place in places], device=logits_RV.device)
    chosen = torch.tensor(targets, device=logits_RV.device)
    values: list[float] = logits_RV.log_softmax(-1)[wanted, chosen].tolist()
    return values


def chat_logits(model: PreTrainedModel, ids: Sequence[int], rows: Sequence[int]) -> Tensor:
    """Return the logits ``[R, V]`` after the tokens at ``rows`` of the chat ``ids``, in float32."""
    kept = torch.tensor(rows, device=model.device)
    logits: Tensor = _forward(model, ids, use_cache=False, logits_to_keep=kept).logits[0]
    return (logits if len(logits) == len(rows) else logits[kept]).float()


def rewards(model: PreTrainedModel, ids: Sequence[int], **more: Tensor) -> tuple[float, ...]:
    """Return a classifier's scores of the chat ``ids``, as it pools them itself."""
    values: list[float] = _forward(model, ids, **more).logits[0].float().tolist()
    return tuple(values)


def score_pairs(model: PreTrainedModel, trees: Sequence[TokenTree]) -> list[tuple[Score, ...]]:
    """Return an encoder's scores: each chat is a pair, its first segment of type 0 and its second of type 1."""
    several = int(getattr(model.config, "type_vocab_size", 0) or 0) > 1
    scores = []
    for tree in trees:
        of_tree = []
        for read in tree.reads:
            ids, starts = _chat(tree, read.segment)
            types = (torch.arange(len(ids), device=model.device) >= starts[read.segment]).long()[None]
            given = {"token_type_ids": types} if several else {}
            of_tree.append(Score(rewards(model, ids, **given), read.tokens))
        scores.append(tuple(of_tree))
    return scores


def _scores(model: PreTrainedModel, tree: TokenTree) -> tuple[Score, ...]:
    scores: dict[int, Score] = {}
    for segment, numbers in _paths(tree).items():
        ids, starts = _chat(tree, segment)
        told = [tree.reads[number] for number in numbers]
        if not told[0].targets:
            scores |= {number: Score(rewards(model, ids), tree.reads[number].tokens) for number in numbers}
            continue
        places = [starts[at] + offset for read in told for at, offset in read.places]
        values = iter(logprobs(model, ids, places, [target for read in told for target in read.targets]))
        for number, read in zip(numbers, told, strict=True):
            scores[number] = as_score([next(values) for _ in read.targets], read.summed, read.tokens)
    return tuple(scores[number] for number in range(len(tree.reads)))


def _paths(tree: TokenTree) -> dict[int, list[int]]:
    """Return, for the end of each chat that has to be computed, the numbers of the reads on it.

    What is read on the way of a longer chat needs no chat of its own; a reward is read at the end of its own only.
    """
    ends: dict[int, list[int]] = {}
    home: dict[int, int] = {}
    deepest_first = sorted(range(len(tree.reads)), key=lambda number: -tree.reads[number].segment)
    for number in deepest_first:
        read = tree.reads[number]
        end = home.get(read.segment, read.segment) if read.targets else read.segment
        ends.setdefault(end, []).append(number)
        home |= {segment: end for segment in path(tree, end) if segment not in home}
    return ends


def _chat(tree: TokenTree, end: int) -> tuple[list[int], dict[int, int]]:
    """Return the ids of the chat that ends with segment ``end``, and where each of its segments starts."""
    ids: list[int] = []
    starts: dict[int, int] = {}
    for segment in path(tree, end):
        starts[segment] = len(ids)
        ids += tree.segments[segment].ids
    return ids, starts


class PlainWriter(TreeWriter):
    """Writes each answer on its own, a token at a time, with what the model itself keeps of a chat."""

    def __init__(self, model: PreTrainedModel, chat: TextCoder, stop_ids: frozenset[int], slots: int) -> None:
        super().__init__(model, chat, stop_ids, slots)
        self._kept: dict[int, dict[str, Any]] = {}

    def prefill(self, answers: Sequence[GrowingAnswer]) -> None:
        """See `TreeWriter`."""
        first = [self._read(answer, answer.prompt, {}) for answer in answers]
        self.answers += answers
        self._append(answers, draw(torch.stack(first), answers))

    def step(self, first: int = 0, count: int | None = None) -> None:
        """See `TreeWriter`."""
        answers = self._chosen(first, count)
        logits = [self._next(answer) for answer in answers]
        self._append(answers, draw(torch.stack(logits), answers))

    def remove(self, answer: GrowingAnswer) -> None:
        """See `TreeWriter`."""
        self._kept.pop(id(answer), None)
        super().remove(answer)

    @property
    def bytes_per_token(self) -> int:
        """See `TreeWriter`."""
        kept = sum(_bytes(self._kept.get(id(answer))) for answer in self.answers)
        return kept // max(1, sum(answer.length for answer in self.answers))

    def _next(self, answer: GrowingAnswer) -> Tensor:
        """Return the logits ``[V]`` of the next token of ``answer``."""
        return self._read(answer, answer.ids[-1:], self._kept[id(answer)])

    def _read(self, answer: GrowingAnswer, ids: Sequence[int], given: dict[str, Any]) -> Tensor:
        with attention.attending(self._model, attention.own(self._model)):
            out = _forward(self._model, ids, use_cache=True, **given)
        kept = {name: out[name] for name in _KEPT if out.get(name) is not None}
        if not kept:
            raise attention.Unpackable("it keeps nothing of a chat")
        self._kept[id(answer)] = kept
        logits: Tensor = out.logits[0, -1].float()
        return logits


class RereadingWriter(PlainWriter):
    """Writes each answer on its own, and reads the whole chat again for each token: for models that keep nothing."""

    def _next(self, answer: GrowingAnswer) -> Tensor:
        return self._read(answer, (*answer.prompt, *answer.ids), {})

    def _read(self, answer: GrowingAnswer, ids: Sequence[int], given: dict[str, Any]) -> Tensor:
        with attention.attending(self._model, attention.own(self._model)):
            return chat_logits(self._model, ids, [len(ids) - 1])[0]


def _forward(model: PreTrainedModel, ids: Sequence[int], **given: Any) -> Any:
    """Run the model over one chat, with those of the arguments that it knows."""
    known = inspect.signature(model.forward).parameters
    told = {name: value for name, value in given.items() if name in known}
    return model(input_ids=torch.tensor([list(ids)], device=model.device), **told)


def _bytes(kept: Any) -> int:
    """Return how many bytes the tensors take that ``kept`` holds, however it holds them."""
    if isinstance(kept, Tensor):
        return kept.numel() * kept.element_size()
    if isinstance(kept, dict):
        return sum(_bytes(part) for part in kept.values())
    if isinstance(kept, list | tuple):
        return sum(_bytes(part) for part in kept)
    # transformers' caches hold their layers, and those their tensors, as plain attributes
    return _bytes(vars(kept)) if type(kept).__module__.startswith("transformers.") else 0

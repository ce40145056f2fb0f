"""What the proof at opening compares: two chats by the model's own forward, and by each way of computing them.

A chat is read once by the forward. Its tree goes through the packed row; then it is cut short and written again to its
end, with the chat's own tokens put in place of those that are drawn, so that the forward's one reading serves for all.
"""

import math
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from base.errors import InputError
from critic.chats.chat import Chat
from critic.chats.tokens import TokenRead, TokenTree, from_chats, path
from critic.engine import EngineError, Node, Read, Reward, Sampling, Score
from critic.local.trees import attention, plain, prefix_tree
from critic.local.trees.decoding import Decoder, GrowingAnswer, TreeWriter
from critic.records import Message

Writers = type[Decoder] | type[plain.PlainWriter]
Scorer = Callable[[PreTrainedModel, Sequence[TokenTree]], list[tuple[Score, ...]]]

_QUESTION = "Their dog barks. What now?"
_BRIEF = "Ask them over, and tell them how it is for you."
_STORY = "On night {} nobody slept before {} o'clock, and the cat that lives next door hid in box {} until noon. "
_WORDS = "".join(_STORY.format(n, n + 2, 31 - n) for n in range(1, 12)).split()
# Few tokens, for they take time, but more than some models keep as they are (128), also before the last of them are
# written: what such models do then must show, too. Windows need no more: who sees whom is the model's own function of
# positions.
_STEPS = 3
_LONGEST = 129 + _STEPS


@dataclass(frozen=True, slots=True)
class NumericGap:
    """How far numbers are from those of the model's own forward: at most, and nine in ten of them."""

    greatest: float
    usual: float


NO_GAP = NumericGap(0.0, 0.0)


class Evidence(Protocol):
    """The chats by the model's own forward."""

    @property
    def noise(self) -> NumericGap:
        """What rounding alone makes of the numbers: the gap between the model's own two kinds of attention."""
        ...


class Chats:
    """Two chats by a language model's own forward."""

    def __init__(self, model: PreTrainedModel, chat: Chat, tree: TokenTree) -> None:
        self._model, self._chat = model, chat
        self._tree = TokenTree(tree.segments, tuple(_everything(tree, end) for end in _ends(tree)))
        self._alone = [_alone(model, ids) for ids in _chats(tree)]
        self.bytes_per_token = 0
        """What is kept of each token while an answer is written, in the way that was tried last."""

    @cached_property
    def noise(self) -> NumericGap:
        """See `Evidence`; of the brief chat alone, for it is the same of all."""
        brief = self._alone[0]
        return _measured(lambda: gap([_alone(self._model, brief.ids, "eager").logprobs], [brief.logprobs]))

    def ahead(self) -> NumericGap:
        """Return the gap between the tokens that both chats begin with, as read in the one and in the other."""
        brief, long = self._alone
        same = next(i for i, (one, other) in enumerate(zip(brief.ids, long.ids, strict=False)) if one != other)
        return gap([brief.logprobs[: same - 1]], [long.logprobs[: same - 1]])

    def scored(self) -> NumericGap:
        """Return the gap of the packed row."""
        with attention.attending(self._model, attention.NAME):
            [scores] = prefix_tree.score_trees(self._model, [self._tree])
        alone = [chat.logprobs for chat in self._alone]
        return gap([score.values for score in scores], alone)

    def written(self, writers: Writers) -> NumericGap:
        """Return the gap of writing with one of ``writers``."""
        brief, long = (_Rewritten(chat, seed) for seed, chat in enumerate(self._alone))
        kind = attention.NAME if writers is Decoder else attention.own(self._model)
        with attention.attending(self._model, kind):
            self._write(writers(self._model, self._chat, frozenset(), 2), brief, long)
        drawn = [chat.answer.logprobs or [] for chat in (brief, long)]
        return gap(drawn, [brief.expected, long.expected])

    def _write(self, writer: TreeWriter, brief: "_Rewritten", long: "_Rewritten") -> None:
        """Write both together, and then the long one alone, which moves to where the other was."""
        writer.prefill([brief.answer, long.answer])
        for _ in range(_STEPS - 2):
            brief.take_back()
            long.take_back()
            writer.step()
        brief.take_back()
        long.take_back()
        self.bytes_per_token = writer.bytes_per_token
        writer.remove(brief.answer)
        writer.step()
        long.take_back()


class Rewards:
    """Two chats by a reward model's own forward."""

    def __init__(self, model: PreTrainedModel, tree: TokenTree) -> None:
        self._model, self._tree = model, tree
        self._alone = self._by(plain.score_trees)

    @cached_property
    def noise(self) -> NumericGap:
        """See `Evidence`."""
        return _measured(self._eager)

    def scored(self) -> NumericGap:
        """Return the gap of the packed row."""
        with attention.attending(self._model, attention.NAME):
            return gap(self._by(prefix_tree.score_trees), self._alone)

    def _eager(self) -> NumericGap:
        with attention.attending(self._model, "eager"):
            return gap([plain.rewards(self._model, ids) for ids in _chats(self._tree)], self._alone)

    def _by(self, scorer: Scorer) -> list[Sequence[float]]:
        return [score.values for score in chain.from_iterable(scorer(self._model, [self._tree]))]


def two_chats(chat: Chat, context: int, where: str, read: Read) -> TokenTree:
    """Return two chats that begin alike: a short one, and one that is as long as it has to be, or as fits.

    The long one comes second: its tokens follow others in a packed row, so that whatever counts places in the row, or
    keeps a state along it, goes astray. Raises `InputError` where they can't be encoded.
    """

    def encoded(words: int) -> TokenTree:
        return from_chats(_asked(words, read), chat)

    try:
        words = bisect_left(range(1, len(_WORDS)), min(_LONGEST, context), key=lambda words: encoded(words).longest) + 1
        tree = encoded(words)
        return tree if tree.longest <= context or words == 1 else encoded(words - 1)
    except EngineError as error:
        raise InputError(f"no chat can be encoded for it: {error}", where=where) from error


def two_pairs(encode: Callable[[Node], TokenTree]) -> TokenTree:
    """Return two pairs of a question and an answer."""
    return encode(_asked(8, Reward()))


def gap(numbers: Sequence[Sequence[float]], own: Sequence[Sequence[float]]) -> NumericGap:
    """Return the gap between ``numbers`` and those of the model's own forward; infinite where only one is a number."""
    pairs = zip(chain.from_iterable(numbers), chain.from_iterable(own), strict=True)
    gaps = sorted(abs(one - other) if one != other else 0.0 for one, other in pairs)
    if not gaps or any(math.isnan(difference) for difference in gaps):
        return NumericGap(math.inf, math.inf)
    return NumericGap(gaps[-1], gaps[int(0.9 * len(gaps))])


def _measured(measure: Callable[[], NumericGap]) -> NumericGap:
    try:
        return measure()
    except Exception:  # a model without the other kind of attention raises whatever it likes
        return NO_GAP


def _asked(words: int, read: Read) -> Node:
    """Return a question, its brief answer, and one of so many words."""
    texts = (_BRIEF, " ".join(_WORDS[:words]))
    branches = tuple(Node((Message(role="assistant", content=text),), read) for text in texts)
    return Node((Message(role="user", content=_QUESTION),), children=branches)


def _ends(tree: TokenTree) -> list[int]:
    return [read.segment for read in tree.reads]


def _chats(tree: TokenTree) -> list[list[int]]:
    """Return the tokens of each chat."""
    chats = []
    for end in _ends(tree):
        chats.append([i for segment in path(tree, end) for i in tree.segments[segment].ids])
    return chats


def _everything(tree: TokenTree, end: int) -> TokenRead:
    """Return a read of every token but the first of the chat that ends with segment ``end``."""
    places = [(segment, i) for segment in path(tree, end) for i in range(len(tree.segments[segment].ids))]
    targets = [tree.segments[segment].ids[i] for segment, i in places[1:]]
    return TokenRead(end, tuple(places[:-1]), tuple(targets), False, len(targets))


@dataclass(frozen=True, slots=True)
class _Alone:
    """A chat by the model's own forward: the log-probability of each token but the first.

    ``last_SV`` holds that of every token of the vocabulary in the last `_STEPS` places.
    """

    ids: list[int]
    logprobs: list[float]
    last_SV: Tensor


def _alone(model: PreTrainedModel, ids: list[int], kind: str | None = None) -> _Alone:
    """Compute a chat by the model's own forward, with its own attention or that of ``kind``."""
    with attention.attending(model, kind or attention.own(model)):
        logprobs_RV = plain.chat_logits(model, ids, range(len(ids) - 1)).log_softmax(-1)
    own_R1 = torch.tensor(ids[1:], device=logprobs_RV.device)[:, None]
    return _Alone(ids, logprobs_RV.gather(1, own_R1)[:, 0].tolist(), logprobs_RV[-_STEPS:].clone())


class _Rewritten:
    """The end of a chat, written again. What is drawn there is taken back, and the chat's own token put in its place.

    So the chat stays what the forward has read, and that tells what it gives to whatever is drawn.
    """

    def __init__(self, chat: _Alone, seed: int) -> None:
        self._own, self._last_SV = chat.ids[-_STEPS:], chat.last_SV
        self.answer = GrowingAnswer(tuple(chat.ids[:-_STEPS]), Sampling(2 * _STEPS), random.Random(seed), logprobs=[])
        self.expected: list[float] = []

    def take_back(self) -> None:
        """Note what the forward gives to the token that was just drawn, and go on with the chat's own."""
        if self.answer.error:
            raise self.answer.error
        place, ids = len(self.expected), self.answer.ids
        self.expected.append(float(self._last_SV[place, ids[-1]]))
        ids[-1] = self._own[place]

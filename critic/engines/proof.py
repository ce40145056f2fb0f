"""The proof at opening: which path computes what the model itself computes, for scoring and for writing.

A small tree of two chats, encoded as requests will be, goes through the packed path and, chat by chat, through the
model's own forward with its own attention; then both chats are cut short and written again to their end. The packed
path is taken where every probability agrees, else the plain one (`critic.engines.plain`), and the engine says so. So no
list of known models decides, and no answer is wrong because a layer asked for something that is not computed here.

The two may differ by rounding alone. How large that is on a model and in its type is measured: by what the model's own
two kinds of attention differ.
"""

import math
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from constitution.errors import InputError
from critic.engines import attention, plain, prefix_tree
from critic.engines.base import EngineError, Node, OwnTokens, Read, Reward, Sampling, Score
from critic.engines.chat import Chat
from critic.engines.decoding import Answer, Decoder, Writer
from critic.engines.tokens import TokenRead, TokenTree, from_chats, path
from critic.records import Message

Name = Literal["packed", "plain", "rereading"]
Writers = type[Decoder] | type[plain.PlainWriter]

_QUESTION = "Their dog barks. What now?"
_BRIEF = "Ask them over, and tell them how it is for you."
_STORY = "On night {} nobody slept before {} o'clock, and the cat that lives next door hid in box {} until noon. "
_WORDS = "".join(_STORY.format(n, n + 2, 31 - n) for n in range(1, 12)).split()
# Few tokens, for they take time, but more than some models keep as they are (128), also before the last of them are
# written: what such models do then must show, too. Windows need no more: who sees whom is the model's own function of
# positions.
_STEPS = 4
_LONGEST = 129 + _STEPS
# Differences of log-probabilities that are rounding whatever was measured: the greatest in float32 (tiny models have
# 1e-6, models of 7 billion weights some 1e-5), the root mean square in bfloat16. And so many times what was measured.
_ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 0.01}
_TIMES = 4.0


@dataclass(frozen=True, slots=True)
class Path:
    """How something is computed, what it differs by from the model's own forward, and why it is not packed."""

    name: Name
    difference: float
    why: str = ""

    def __str__(self) -> str:
        said = f"{self.name} (differs by {self.difference:.1e})"
        return f"{said}: {self.why}" if self.why else said


@dataclass(frozen=True, slots=True)
class Proof:
    """The paths that were found right for scoring and for writing; a reward model's ``writing`` is None."""

    scoring: Path
    writing: Path | None
    bytes_per_token: int = 0
    """What is kept of each token while an answer is written."""

    @property
    def is_packed(self) -> bool:
        """Whether everything is."""
        return self.scoring.name == "packed" and (self.writing is None or self.writing.name == "packed")

    @property
    def is_packed_anywhere(self) -> bool:
        """Whether anything needs this project's attention."""
        return "packed" in (self.scoring.name, self.writing and self.writing.name)

    def described(self) -> dict[str, str]:
        """Return the entries of an engine's capabilities that say how it computes."""
        said = {"scoring": str(self.scoring)}
        return said if self.writing is None else said | {"writing": str(self.writing)}

    def told(self) -> str:
        """Say in one line which paths are not packed, and why."""
        paths = {"scoring": self.scoring, "writing": self.writing}
        return "; ".join(f"{use}: {path.name}, for {path.why}" for use, path in paths.items() if path and path.why)

    def settings(self) -> dict[str, str]:
        """Return the entries of an engine's identity: the paths that are not packed, for their numbers differ."""
        paths = {"scoring": self.scoring, "writing": self.writing}
        return {use: found.name for use, found in paths.items() if found is not None and found.name != "packed"}


WRITERS: dict[Name, Writers] = {
    "packed": Decoder,
    "plain": plain.PlainWriter,
    "rereading": plain.RereadingWriter,
}
Scorer = Callable[[PreTrainedModel, Sequence[TokenTree]], list[tuple[Score, ...]]]
SCORERS: dict[Name, Scorer] = {"packed": prefix_tree.score_trees, "plain": plain.score_trees}


@torch.inference_mode()
def prove(model: PreTrainedModel, chat: Chat, context: int, where: str) -> Proof:
    """Return the paths on which the language model ``model`` computes what it is.

    Raises `InputError` where no path can be right: for a model that sees the tokens after the one that it predicts, and
    one whose forward fails.
    """
    tree = _tree(chat, context, where, OwnTokens())
    tree = plain.reads_of(tree, [_everything(tree, end) for end in _ends(tree)])
    chats = [_ids(tree, end) for end in _ends(tree)]
    with _told(where):
        alone = [_alone(model, ids) for ids in chats]
    reference = [chat.logprobs for chat in alone]
    noise = _Noise(model.dtype, lambda: _distance([_alone(model, chats[0], "eager").logprobs], [reference[0]]))
    _look_ahead(chats, reference, noise, where)
    scoring = _packed(lambda: _tree_difference(model, tree, reference), noise)
    trial = _Trial(model, chat, alone)
    writing = _packed(lambda: trial.difference(Decoder), noise)
    if writing.name != "packed":
        writing = _written_plainly(trial, noise, writing.why)
    return Proof(scoring, writing, trial.bytes_per_token)


@torch.inference_mode()
def prove_rewards(model: PreTrainedModel, chat: Chat, context: int, where: str) -> Proof:
    """Return the path on which the reward model ``model`` gives the scores that its own forward gives.

    Raises `InputError` where its forward fails.
    """
    tree = _tree(chat, context, where, Reward())
    with _told(where):
        reference = _rewards(model, plain.score_trees, [tree])
    noise = _Noise(model.dtype, lambda: _distance(_rewards_by(model, "eager", tree), reference))

    def difference() -> tuple[float, float]:
        with attention.attending(model, attention.NAME):
            return _distance(_rewards(model, prefix_tree.score_trees, [tree]), reference)

    return Proof(_packed(difference, noise, "a reward"), None)


@torch.inference_mode()
def prove_pairs(model: PreTrainedModel, encode: Callable[[Node], TokenTree], where: str) -> None:
    """Raise `InputError` where the encoder ``model`` can't score a pair."""
    with _told(where):
        plain.score_pairs(model, [encode(_chats(8, Reward()))])


class _Noise:
    """What rounding makes of a number; ``measure`` gives its greatest and its root mean square, where it can."""

    def __init__(self, dtype: torch.dtype, measure: Callable[[], tuple[float, float]]) -> None:
        self._dtype, self._measure = dtype, cache(measure)

    def covers(self, greatest: float, rms: float) -> bool:
        """Whether differences of this size are rounding: in float32 by the greatest, in other types by all of them."""
        if self._dtype == torch.float32:
            return greatest <= _ROUNDING[torch.float32] or greatest <= _TIMES * self._measured()[0]
        return rms <= _ROUNDING[torch.bfloat16] or rms <= _TIMES * self._measured()[1]

    def _measured(self) -> tuple[float, float]:
        try:
            return self._measure()
        except Exception:  # a model without the other kind of attention raises whatever it likes
            return 0.0, 0.0


def _tree(chat: Chat, context: int, where: str, read: Read) -> TokenTree:
    """Return two chats that begin alike: a short one, and one that is as long as it has to be, or as fits.

    The long one comes second: its tokens follow others in a packed row, so that whatever counts places in the row, or
    keeps a state along it, goes astray.
    """

    def encoded(words: int) -> TokenTree:
        return from_chats(_chats(words, read), chat)

    try:
        words = bisect_left(range(1, len(_WORDS)), min(_LONGEST, context), key=lambda words: encoded(words).longest) + 1
        tree = encoded(words)
        return tree if tree.longest <= context or words == 1 else encoded(words - 1)
    except EngineError as error:
        raise InputError(f"no chat can be encoded for it: {error}", where=where) from error


def _chats(words: int, read: Read) -> Node:
    """Return a question, its brief answer, and one of so many words."""
    texts = (_BRIEF, " ".join(_WORDS[:words]))
    branches = tuple(Node((Message(role="assistant", content=text),), read) for text in texts)
    return Node((Message(role="user", content=_QUESTION),), children=branches)


def _ends(tree: TokenTree) -> list[int]:
    return [read.segment for read in tree.reads]


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


def _look_ahead(chats: list[list[int]], reference: list[list[float]], noise: _Noise, where: str) -> None:
    """Raise `InputError` where the tokens that two chats share have other probabilities in each."""
    same = next(i for i, (one, other) in enumerate(zip(*chats, strict=False)) if one != other)
    greatest, rms = _distance([reference[0][: same - 1]], [reference[1][: same - 1]])
    if not noise.covers(greatest, rms):
        raise InputError(
            f"it predicts a token otherwise when other tokens follow (by up to {greatest:.2g} in a log-probability)",
            where=where,
            fix="a language model that reads from left to right is needed; for one trained as an encoder, "
            "is_decoder: true in its config.json makes it one",
        )


def _packed(difference: Callable[[], tuple[float, float]], noise: _Noise, what: str = "a log-probability") -> Path:
    """Return the packed path where ``difference`` is rounding, else the plain one with the reason."""
    try:
        greatest, rms = difference()
    except attention.Unpackable as error:
        return Path("plain", 0.0, str(error))
    except Exception as error:  # models raise anything where they are not computed as they expect
        return Path("plain", 0.0, f"a packed row fails: {type(error).__name__}: {_first_line(error)}")
    if noise.covers(greatest, rms):
        return Path("packed", greatest)
    return Path("plain", 0.0, f"a packed row differs by {greatest:.2g} in {what}")


def _tree_difference(model: PreTrainedModel, tree: TokenTree, reference: list[list[float]]) -> tuple[float, float]:
    with attention.attending(model, attention.NAME):
        (scores,) = prefix_tree.score_trees(model, [tree])
    return _distance([list(score.values) for score in scores], reference)


def _written_plainly(trial: "_Trial", noise: _Noise, why: str) -> Path:
    """Return the plain path with the model's own cache where that is right, else the one without any."""
    try:
        greatest, rms = trial.difference(plain.PlainWriter)
    except Exception as error:  # as above
        return Path("rereading", 0.0, f"{why}; its own cache fails: {type(error).__name__}: {_first_line(error)}")
    if noise.covers(greatest, rms):
        return Path("plain", greatest, why)
    return Path("rereading", 0.0, f"{why}; with its own cache it differs by {greatest:.2g}")


class _Rewritten:
    """The end of a chat, written again. What is drawn there is taken back, and the chat's own token put in its place.

    So the chat stays what the forward has read, and tells what it gives to whatever is drawn.
    """

    def __init__(self, chat: _Alone, seed: int) -> None:
        self._own, self._last_SV = chat.ids[-_STEPS:], chat.last_SV
        self.answer = Answer(tuple(chat.ids[:-_STEPS]), Sampling(2 * _STEPS), random.Random(seed), logprobs=[])
        self.expected: list[float] = []

    def take_back(self) -> None:
        """Note what the forward gives to the token that was just drawn, and go on with the chat's own."""
        if self.answer.error:
            raise self.answer.error
        place, ids = len(self.expected), self.answer.ids
        self.expected.append(float(self._last_SV[place, ids[-1]]))
        ids[-1] = self._own[place]


class _Trial:
    """The ends of two chats, written in one of the ways: how far what is drawn is from what the forward gives to it."""

    def __init__(self, model: PreTrainedModel, chat: Chat, chats: list[_Alone]) -> None:
        self._model, self._chat, self._chats = model, chat, chats
        self.bytes_per_token = 0

    def difference(self, writers: Writers) -> tuple[float, float]:
        """Return the greatest difference and the root mean square of all."""
        brief, long = (_Rewritten(chat, seed) for seed, chat in enumerate(self._chats))
        kind = attention.NAME if writers is Decoder else attention.own(self._model)
        with attention.attending(self._model, kind):
            self._write(writers(self._model, self._chat, frozenset(), 2), brief, long)
        drawn = [chat.answer.logprobs or [] for chat in (brief, long)]
        return _distance(drawn, [brief.expected, long.expected])

    def _write(self, writer: Writer, brief: _Rewritten, long: _Rewritten) -> None:
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


def _rewards(model: PreTrainedModel, scorer: Scorer, trees: Sequence[TokenTree]) -> list[list[float]]:
    return [list(score.values) for score in chain.from_iterable(scorer(model, trees))]


def _rewards_by(model: PreTrainedModel, kind: str, tree: TokenTree) -> list[list[float]]:
    with attention.attending(model, kind):
        return [list(plain.rewards(model, _ids(tree, end))) for end in _ends(tree)]


def _ids(tree: TokenTree, end: int) -> list[int]:
    """Return the tokens of the chat that ends with segment ``end``."""
    return [i for segment in path(tree, end) for i in tree.segments[segment].ids]


def _distance(found: list[list[float]], reference: list[list[float]]) -> tuple[float, float]:
    """Return the greatest difference and the root mean square of all; infinite where only one is a number."""
    pairs = list(zip(chain.from_iterable(found), chain.from_iterable(reference), strict=True))
    gaps = [abs(one - other) if one != other else 0.0 for one, other in pairs]
    if not gaps or any(math.isnan(gap) for gap in gaps):
        return math.inf, math.inf
    return max(gaps), math.sqrt(sum(gap * gap for gap in gaps) / len(gaps))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160]


class _told:
    """Turns whatever the model's own forward raises into `InputError`."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, InputError):
            raise InputError(
                f"its own forward fails on a chat: {type(error).__name__}: {_first_line(error)}", where=self._where
            ) from error

"""The proof at opening: which path computes what the model itself computes, for scoring and for writing.

A small tree of chats, encoded as requests will be, goes through the packed path and, chat by chat, through the model's
own forward with its own attention; then some tokens are drawn and their probabilities are read again the same way. The
packed path is taken where both agree, else the plain one (`critic.engines.plain`), and the engine says so. So no list
of known models decides, and no answer is wrong because a layer asked for something that is not computed here.

The two may differ by rounding alone. How large that is on a model and in its type is measured: by what the model's own
two kinds of attention differ.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Literal

import torch
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

_QUESTION = "A neighbour's dog barks at night, number {} of this week: what would be a kind and honest thing to say? "
_ANSWERS = (
    "Ask them over for tea, and tell them calmly how your nights have been.",
    "Write nothing and wait; most dogs grow quiet when the weather turns cold, some never do.",
)
# Few tokens, for they take time, but more than some models keep as they are (128): what they do then must show, too.
# Windows need no more: who sees whom is the model's own function of positions.
_SENTENCES = (4, 2, 1)
_TOKENS = 256
_PROMPTS = (_TOKENS, 32)
_STEPS = 5
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
    tree = _tree(chat, context - _STEPS, where)
    chats = [_ids(tree, end) for end in _ends(tree)]
    with _told(where):
        reference = [_read(model, ids) for ids in chats]
    noise = _Noise(model.dtype, lambda: _distance([_read(model, chats[0], "eager")], [reference[0]]))
    _look_ahead(chats, reference, noise, where)
    scoring = _packed(lambda: _tree_difference(model, tree, reference), noise)
    trial = _Trial(model, chat, chats)
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
        plain.score_pairs(model, [encode(_chats(_QUESTION.format(1), Reward()))])


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


def _tree(chat: Chat, context: int, where: str, read: Read | None = None) -> TokenTree:
    """Return two chats that begin alike, as long as fits; of a language model all tokens but the first are read."""
    for sentences in _SENTENCES:
        question = "".join(_QUESTION.format(number) for number in range(sentences))
        try:
            tree = from_chats(_chats(question, read or OwnTokens()), chat)
        except EngineError as error:
            raise InputError(f"no chat can be encoded for it: {error}", where=where) from error
        if tree.longest <= min(context, _TOKENS):
            break
    return tree if isinstance(read, Reward) else plain.reads_of(tree, [_everything(tree, end) for end in _ends(tree)])


def _chats(question: str, read: Read) -> Node:
    branches = tuple(Node((Message(role="assistant", content=text),), read) for text in _ANSWERS)
    return Node((Message(role="user", content=question),), children=branches)


def _ends(tree: TokenTree) -> list[int]:
    return [read.segment for read in tree.reads]


def _everything(tree: TokenTree, end: int) -> TokenRead:
    """Return a read of every token but the first of the chat that ends with segment ``end``."""
    places = [(segment, i) for segment in path(tree, end) for i in range(len(tree.segments[segment].ids))]
    targets = [tree.segments[segment].ids[i] for segment, i in places[1:]]
    return TokenRead(end, tuple(places[:-1]), tuple(targets), False, len(targets))


def _read(model: PreTrainedModel, ids: Sequence[int], kind: str | None = None) -> list[float]:
    """Return the log-probability of each token of a chat but the first, by the model's own forward."""
    with attention.attending(model, kind or attention.own(model)):
        return plain.logprobs(model, ids, range(len(ids) - 1), ids[1:])


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


class _Trial:
    """Two answers, written in one of the ways: how far their tokens' probabilities are from those of the forward."""

    def __init__(self, model: PreTrainedModel, chat: Chat, chats: list[list[int]]) -> None:
        self._model, self._chat = model, chat
        self._prompts = [ids[:tokens] for ids, tokens in zip(chats, _PROMPTS, strict=True)]
        self.bytes_per_token = 0

    def difference(self, writers: Writers) -> tuple[float, float]:
        """Return the greatest difference and the root mean square of all."""
        drawn = Sampling(2 * _STEPS)
        answers = [
            Answer(tuple(ids), drawn, random.Random(seed), logprobs=[]) for seed, ids in enumerate(self._prompts)
        ]
        kind = attention.NAME if writers is Decoder else attention.own(self._model)
        with attention.attending(self._model, kind):
            self._write(writers(self._model, self._chat, frozenset(), len(answers)), *answers)
        if any(answer.error for answer in answers):
            return math.inf, math.inf
        whole = [_read(self._model, (*answer.prompt, *answer.ids)) for answer in answers]
        found = [answer.logprobs or [] for answer in answers]
        return _distance(found, [read[-len(own) :] for read, own in zip(whole, found, strict=True)])

    def _write(self, writer: Writer, first: Answer, second: Answer) -> None:
        """Let the second answer join while the first is under way, and go on alone when that one has left."""
        writer.prefill([first])
        writer.step()
        writer.prefill([second])
        for _ in range(_STEPS - 3):
            writer.step()
        self.bytes_per_token = writer.bytes_per_token
        writer.remove(first)
        writer.step()


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

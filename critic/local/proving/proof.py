"""The proof at opening: which path computes what the model itself computes, for scoring and for writing.

A small tree of two chats, encoded as requests will be, goes through the packed path and, chat by chat, through the
model's own forward with its own attention; then both chats are cut short and written again to their end
(`critic.local.proving.evidence`). The packed path is taken where every probability agrees, else the plain one
(`critic.local.trees.plain`), and the engine says so. So no list of known models decides, and no answer is wrong because
a layer asked for something that is not computed here.

The two may differ by rounding alone. How large that is on a model and in its type is measured: by what the model's own
two kinds of attention differ. Where that leaves a doubt, float32 decides.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import torch
from transformers import PreTrainedModel

from base.errors import InputError
from critic.chats.chat import Chat
from critic.chats.tokens import TokenTree
from critic.engine import Node, OwnTokens, Reward
from critic.local.loading import first_line
from critic.local.proving.evidence import Chats, Evidence, NumericGap, Rewards, Scorer, Writers, two_chats, two_pairs
from critic.local.proving.float32 import InFloat32
from critic.local.trees import attention, plain, prefix_tree
from critic.local.trees.decoding import Decoder

Name = Literal["packed", "plain", "rereading"]
E = TypeVar("E", bound=Evidence)

# Differences of log-probabilities that are rounding in float32 whatever was measured: tiny models have 1e-6, models of
# 7 billion weights some 1e-5.
_ROUNDING = 1e-4
# And so many times what nine in ten of those have that rounding makes: of tiny models of all types in bfloat16, those
# that are computed as they are reach 2.5. Not the greatest of them: where experts are chosen by a hair, that hides
# anything.
_TIMES = 4.0
# More than rounding makes of nine in ten log-probabilities in any type: what float32 says of it does not count then.
_MOST = 0.5


@dataclass(frozen=True, slots=True)
class ProvenPath:
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

    scoring: ProvenPath
    writing: ProvenPath | None
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
        return {use: path.name for use, path in paths.items() if path is not None and path.name != "packed"}


WRITERS: dict[Name, Writers] = {
    "packed": Decoder,
    "plain": plain.PlainWriter,
    "rereading": plain.RereadingWriter,
}
SCORERS: dict[Name, Scorer] = {"packed": prefix_tree.score_trees, "plain": plain.score_trees}


@torch.inference_mode()
def prove(model: PreTrainedModel, chat: Chat, context: int, where: str) -> Proof:
    """Return the paths on which the language model ``model`` computes what it is.

    Raises `InputError` where no path can be right: for a model that sees the tokens after the one that it predicts, and
    one whose forward fails.
    """
    tree = two_chats(chat, context, where, OwnTokens())
    with _told(where):
        trial = _Trial(model, lambda: Chats(model, chat, tree))
    _check_ahead(trial, where)
    scoring = _packed(trial, Chats.scored)
    writing = _packed(trial, lambda chats: chats.written(Decoder))
    if writing.name != "packed":
        writing = _written_plainly(trial, writing.why)
    return Proof(scoring, writing, trial.evidence.bytes_per_token)


@torch.inference_mode()
def prove_rewards(model: PreTrainedModel, chat: Chat, context: int, where: str) -> Proof:
    """Return the path on which the reward model ``model`` gives the scores that its own forward gives.

    Raises `InputError` where its forward fails.
    """
    tree = two_chats(chat, context, where, Reward())
    with _told(where):
        trial = _Trial(model, lambda: Rewards(model, tree))
    return Proof(_packed(trial, Rewards.scored, "a reward"), None)


@torch.inference_mode()
def prove_pairs(model: PreTrainedModel, encode: Callable[[Node], TokenTree], where: str) -> None:
    """Raise `InputError` where the encoder ``model`` can't score a pair."""
    with _told(where):
        plain.score_pairs(model, [two_pairs(encode)])


class _Trial(Generic[E]):
    """Tells rounding from what is computed otherwise: in the model's own type where that is plain, else in float32."""

    def __init__(self, model: PreTrainedModel, gather: Callable[[], E]) -> None:
        self._is_exact = model.dtype == torch.float32
        self._gather = gather
        self.evidence = gather()
        self._exact: E | None = None

    def judge(self, way: Callable[[E], NumericGap]) -> tuple[float, bool]:
        """Return the greatest difference of ``way`` in the model's own type, and whether it is rounding."""
        own = way(self.evidence)
        if self._is_exact:
            return own.greatest, _is_rounding(own, self.evidence, _ROUNDING)
        if _is_rounding(own, self.evidence):
            return own.greatest, True
        return own.greatest, own.usual <= _MOST and self._is_rounding_in_float32(way)

    def _is_rounding_in_float32(self, way: Callable[[E], NumericGap]) -> bool:
        try:
            with InFloat32():
                self._exact = self._exact or self._gather()
                return _is_rounding(way(self._exact), self._exact, _ROUNDING)
        except Exception:  # models raise anything where they are not computed as they expect: then the doubt remains
            return False


def _is_rounding(gap: NumericGap, evidence: Evidence, floor: float = 0.0) -> bool:
    return gap.greatest <= floor or gap.greatest <= _TIMES * evidence.noise.usual


def _check_ahead(trial: _Trial[Chats], where: str) -> None:
    """Raise `InputError` where the tokens that two chats share have other probabilities in each."""
    greatest, is_rounding = trial.judge(Chats.ahead)
    if not is_rounding:
        raise InputError(
            f"it predicts a token otherwise when other tokens follow (by up to {greatest:.2g} in a log-probability)",
            where=where,
            fix="a language model that reads from left to right is needed; for one trained as an encoder, "
            "is_decoder: true in its config.json makes it one",
        )


def _packed(trial: _Trial[E], way: Callable[[E], NumericGap], what: str = "a log-probability") -> ProvenPath:
    """Return the packed path where the gap of ``way`` is rounding, else the plain one with the reason."""
    try:
        greatest, is_rounding = trial.judge(way)
    except attention.Unpackable as error:
        return ProvenPath("plain", 0.0, str(error))
    except Exception as error:  # models raise anything where they are not computed as they expect
        return ProvenPath("plain", 0.0, f"a packed row fails: {type(error).__name__}: {first_line(error)}")
    if is_rounding:
        return ProvenPath("packed", greatest)
    return ProvenPath("plain", 0.0, f"a packed row differs by {greatest:.2g} in {what}")


def _written_plainly(trial: _Trial[Chats], why: str) -> ProvenPath:
    """Return the plain path with the model's own cache where that is right, else the one without any."""
    try:
        greatest, is_rounding = trial.judge(lambda chats: chats.written(plain.PlainWriter))
    except Exception as error:  # as above
        return ProvenPath("rereading", 0.0, f"{why}; its own cache fails: {type(error).__name__}: {first_line(error)}")
    if is_rounding:
        return ProvenPath("plain", greatest, why)
    return ProvenPath("rereading", 0.0, f"{why}; with its own cache it differs by {greatest:.2g}")


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Turn whatever the model's own forward raises into `InputError`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # whatever a foreign model does with a plain chat
        raise InputError(
            f"its own forward fails on a chat: {type(error).__name__}: {first_line(error)}", where=where
        ) from error

"""What a policy is asked in reinforcement learning: prompts from files, encoded, and in which order they come."""

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from base.digest import seed_of
from base.errors import InputError
from critic.chats.chat import Chat
from critic.engine import EngineError
from critic.files import once
from critic.files.inputs import RowError, read_prompts
from critic.files.shapes import naming
from critic.records import Line, Prompt, Quarantined
from trainers.batches.data import EVALUATION
from trainers.config import Source

_MAX_CHARACTERS = 1 << 24  # what is too long is told in tokens


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt, its place in the input, and its tokens up to where the assistant speaks."""

    prompt: Prompt
    where: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Asks:
    """The prompts of one or more files, and what was refused."""

    asks: tuple[Ask, ...]
    refused: tuple[Quarantined, ...] = ()

    @property
    def sha256(self) -> str:
        """A hash of the prompts, in order."""
        return hashlib.sha256("\n".join(ask.prompt.key for ask in self.asks).encode()).hexdigest()

    def hold_out(self, share: float) -> tuple["Asks", "Asks"]:
        """Split in two, the second with about ``share`` of the prompts: see `critic.files.once.hold_out`."""
        kept, out = once.hold_out(self.asks, lambda ask: ask.prompt, share, EVALUATION)
        return Asks(tuple(kept), self.refused), Asks(tuple(out))

    def check_steps(self, count: int, processes: int) -> None:
        """Raise `InputError` where they don't make steps of ``count`` that ``processes`` can share."""
        if len(self.asks) < count:
            raise InputError(
                f"there are {len(self.asks)} prompts, and a step takes {count}",
                where="prompts_per_step",
                fix="give more prompts, or take fewer in a step",
            )
        if count % processes:
            raise InputError(
                f"{count} prompts can't be shared by {processes} processes",
                where="prompts_per_step",
                fix=f"expected a multiple of {processes}",
            )

    def of_step(self, step: int, count: int, seed: int) -> list[Ask]:
        """Return the ``count`` prompts of a step (from 0): all come once before one comes again, in a new order."""
        steps = len(self.asks) // count
        order = list(range(len(self.asks)))
        random.Random(seed_of("order", seed, step // steps)).shuffle(order)
        first = step % steps * count
        return [self.asks[i] for i in order[first : first + count]]


def read(sources: Sequence[Source], chat: Chat, longest: int) -> Asks:
    """Read and encode the prompts of ``sources``; each comes once, and those above ``longest`` tokens are refused.

    Raises `InputError` where a source can't be read, or no prompt is left.
    """
    asks: list[Ask] = []
    refused: list[Quarantined] = []
    for line in once.once(line for source in sources for line in _lines(source)):
        if isinstance(line, Quarantined):
            refused.append(line)
            continue
        try:
            asks.append(_ask(line, chat, longest))
        except (RowError, EngineError) as error:
            reason = error.reason if isinstance(error, RowError) else "cannot_encode"
            refused.append(Quarantined(row=line.row, where=line.where, reason=reason, detail=str(error)))
    if not asks:
        why = f"; the last, {refused[-1].where}: {refused[-1].detail}" if refused else ""
        raise InputError(f"no prompt is left{why}", where=", ".join(map(str, sources)), fix="give other prompts")
    return Asks(tuple(asks), tuple(refused))


def _lines(source: Source) -> Iterator[Line | Quarantined]:
    named: dict[str, Any] = {"path": source} if isinstance(source, str) else source
    if "path" not in named or set(named) - {"path", "columns"}:
        raise InputError(f"{source} is no file of prompts", where="data", fix="expected a path")
    columns = naming(named.get("columns"))
    return read_prompts(named["path"], max_chars=_MAX_CHARACTERS, truncate=False, columns=columns)


def _ask(line: Line, chat: Chat, longest: int) -> Ask:
    ids = chat.encode(line.item.prompt.messages)
    if len(ids) > longest:
        raise RowError("too_long", f"{len(ids)} tokens; max_length leaves {longest} beside max_new_tokens")
    return Ask(line.item.prompt, line.where, ids)

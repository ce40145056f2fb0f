"""What a policy is asked in reinforcement learning: prompts from files, encoded, and in which order they come."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from base.errors import InputError
from base.seeds import seed_of
from critic.chats.chat import Chat
from critic.engine import EngineError
from critic.files.inputs import RowError, read_prompts
from critic.files.shapes import naming
from critic.records import Line, Prompt, Quarantined
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
        """Split in two, the second with about ``share`` of the prompts, by each prompt's hash."""
        held = [int(ask.prompt.key[:13], 16) / 16**13 < share for ask in self.asks]
        kept, out = (tuple(a for a, h in zip(self.asks, held, strict=True) if h is side) for side in (False, True))
        return Asks(kept, self.refused), Asks(out)

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
    asks: dict[str, Ask] = {}
    refused: list[Quarantined] = []
    for source in sources:
        named: dict[str, Any] = {"path": source} if isinstance(source, str) else source
        if "path" not in named or set(named) - {"path", "columns"}:
            raise InputError(f"{source} is no file of prompts", where="data", fix="expected a path")
        columns = naming(named.get("columns"))
        for line in read_prompts(named["path"], max_chars=_MAX_CHARACTERS, truncate=False, columns=columns):
            if isinstance(line, Quarantined):
                refused.append(line)
                continue
            try:
                ask = _ask(line, chat, longest)
                if ask.prompt.key in asks:
                    raise RowError("duplicate", f"the same prompt as {asks[ask.prompt.key].where}")
                asks[ask.prompt.key] = ask
            except (RowError, EngineError) as error:
                reason = error.reason if isinstance(error, RowError) else "cannot_encode"
                refused.append(Quarantined(row=line.row, where=line.where, reason=reason, detail=str(error)))
    if not asks:
        why = f"; the last, {refused[-1].where}: {refused[-1].detail}" if refused else ""
        raise InputError(f"no prompt is left{why}", where=", ".join(map(str, sources)), fix="give other prompts")
    return Asks(tuple(asks.values()), tuple(refused))


def _ask(line: Line, chat: Chat, longest: int) -> Ask:
    ids = chat.encode(line.item.prompt.messages)
    if len(ids) > longest:
        raise RowError("too_long", f"{len(ids)} tokens; max_length leaves {longest} beside max_new_tokens")
    return Ask(line.item.prompt, line.where, ids)

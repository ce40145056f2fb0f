"""What ends an answer: tokens that the model's settings name, the end of a turn that its template writes, and texts."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from critic.chats.chat import Chat
from critic.engine import EngineError


def end_ids(chat: Chat, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> frozenset[int]:
    """Return all ids that end an answer: what is trained as the end is among them.

    The model's generation settings name some, or else its tokenizer does. A base model's name the end of a text, and
    not the end of a turn, which is what chats teach it: that is the first control token that the template writes after
    an answer. ``chat`` is None where there is no template.
    """
    ids = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    if ids is None:
        ids = tokenizer.eos_token_id
    named = frozenset([ids] if isinstance(ids, int) else ids or [])
    end = None if chat is None else template_end(chat)
    return named if end is None else named | {end}


def template_end(chat: Chat) -> int | None:
    """Return the token that ends an answer by the template; None where it writes none, or takes no answer."""
    try:
        return chat.stop_id()
    except EngineError:
        return None


class Piece(NamedTuple):
    """Some of an answer's tokens, whether it ended there, and whether that was at one of the texts that end answers."""

    ids: tuple[int, ...]
    is_ended: bool
    is_at_text: bool


async def beyond_thoughts(
    go_on: Callable[[Sequence[int]], Awaitable[Piece]], is_thinking: Callable[[Sequence[int]], bool], limit: int
) -> tuple[tuple[int, ...], bool]:
    """Return at most ``limit`` tokens, and whether the answer ended, of an engine that stops at a text wherever it is.

    ``go_on`` writes on after the tokens that it is given. Where a text that ends answers was found while the model
    ``is_thinking``, it ends nothing, and is written on from there.
    """
    ids: tuple[int, ...] = ()
    while len(ids) < limit:
        piece = await go_on(ids)
        ids += piece.ids
        if not (piece.is_at_text and is_thinking(ids)):
            return ids, piece.is_ended
    return ids, False

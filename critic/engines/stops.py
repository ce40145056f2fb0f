"""Which tokens end an answer: those that the model's settings name, and the end of a turn that its template writes."""

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from critic.engines.base import EngineError
from critic.engines.chat import Chat


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

"""Chats for classifiers without a chat template: encoders such as DeBERTa or ModernBERT, trained on pairs of texts.

The question is everything before the last answer, its messages with an empty line between them; the answer is the
second text. The tokenizer's own rule for pairs puts the control tokens around both, and no text brings its own.
"""

from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from base.errors import InputError
from critic.chats.encoder import TextEncoder
from critic.chats.tokens import Segment, TokenRead, TokenTree
from critic.engine import EngineError, Node, reads
from critic.records import Message

SETTINGS = (("chat", "pair of texts"),)
_BETWEEN = "\n\n"


def reads_pairs(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether chats must be given to ``tokenizer`` as pairs: it has the tokens for these, and no chat template."""
    return not tokenizer.chat_template and tokenizer.cls_token_id is not None and tokenizer.sep_token_id is not None


class Pairs:
    """Encodes chats as pairs for one tokenizer. Raises `InputError` where it is none of the tokenizers library."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, where: str) -> None:
        self._encoder = TextEncoder(tokenizer, where)
        backend = tokenizer.backend_tokenizer
        assert isinstance(backend, Tokenizer)
        self._around = _around(backend, where)

    def tree(self, root: Node) -> TokenTree:
        """Return a tree with two segments for each read: question and answer.

        Raises `EngineError` where a chat does not end with an answer.
        """
        segments: list[Segment] = []
        rewarded: list[TokenRead] = []
        for path, _, own in reads(root):
            question, answer = self._pair(path)
            segments += [Segment(question, -1), Segment(answer, len(segments))]
            place = (len(segments) - 1, len(answer) - 1)
            tokens = sum(len(self._encoder.content(message.content)) for message in own)
            rewarded.append(TokenRead(place[0], (place,), (), False, tokens))
        return TokenTree(tuple(segments), tuple(rewarded))

    def encode(self, messages: Iterable[Message]) -> tuple[int, ...]:
        """Raise `EngineError`: an encoder writes nothing."""
        raise EngineError("an encoder writes no text")

    def split(self, prompt: Sequence[int], ids: Sequence[int]) -> tuple[str, str | None]:
        """Raise `EngineError`: an encoder writes nothing."""
        raise EngineError("an encoder writes no text")

    def thinks(self) -> bool:
        """Return False: an encoder writes nothing, so it thinks nothing either."""
        return False

    def tell(self, capabilities: dict[str, str]) -> None:
        """Note nothing: without a template there is nothing from which pairs could differ."""

    def _pair(self, chat: tuple[Message, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if not chat or chat[-1].role != "assistant":
            raise EngineError("a reward is that of a chat that ends with the assistant's turn; this one does not")
        first = len(chat)
        while first and chat[first - 1].role == "assistant":
            first -= 1
        question = _BETWEEN.join(message.content for message in chat[:first])
        answer = "".join(message.content for message in chat[first:])
        before, between, after = self._around
        return (*before, *self._encoder.content(question), *between), (*self._encoder.content(answer), *after)


def _around(backend: Tokenizer, where: str) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return the control tokens before the first text of a pair, between both, and after the second."""
    pair = backend.encode("a", "b")
    first = [i for i, text in enumerate(pair.sequence_ids) if text == 0]
    second = [i for i, text in enumerate(pair.sequence_ids) if text == 1]
    if not first or not second or not any(pair.special_tokens_mask):
        raise InputError("its tokenizer has no rule for pairs of texts", where=where, fix="choose a model that has one")
    ids = pair.ids
    return tuple(ids[: first[0]]), tuple(ids[first[-1] + 1 : second[0]]), tuple(ids[second[-1] + 1 :])

"""Examples to trees of tokens: the prompt is the root, each answer a branch, and no text can forge a control token.

A policy reads an answer after the markup that opens the assistant's turn, so that what it learns is what it will be
asked to write, end of turn included. A reward model reads whole chats, as the engine ``rm`` shows them to it.
"""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from critic.engines.chat import Chat
from critic.engines.tokens import Segment, TokenTree
from critic.records import Message, Prompt
from critic.run.inputs import RowError


class Encoder:
    """Encodes examples for one tokenizer. Raises `InputError` where it has no usable chat template.

    ``padding`` is the id that a reward model takes for padding; a policy has to learn it where it ends a turn. Both
    methods raise `RowError` for what is longer than ``max_length`` tokens, and `EngineError` for what has no tokens.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, where: str, max_length: int, padding: int | None = None
    ) -> None:
        self._policy, self._reward = Chat(tokenizer, where), Chat(tokenizer, where, padding)
        self._max_length = max_length

    def policy(self, prompt: Prompt, answers: Sequence[str]) -> TokenTree:
        """Return the tree that a policy learns from: its branches hold the tokens of each answer and its end."""
        root = self._policy.extend((), prompt.messages)
        opening, end = self._policy.opening(root.turns), self._policy.closing((*root.turns, "assistant"))
        return self._tree(root.ids + opening, [self._policy.content(answer) + end for answer in answers])

    def reward(self, prompt: Prompt, answers: Sequence[str]) -> TokenTree:
        """Return the tree that a reward model learns from: it is read at each branch's last token."""
        root = self._reward.extend((), prompt.messages)
        parts = [self._reward.extend(root.turns, [Message(role="assistant", content=answer)]) for answer in answers]
        return self._tree(root.ids, [part.ids + self._reward.closing(part.turns) for part in parts])

    def _tree(self, root: tuple[int, ...], branches: list[tuple[int, ...]]) -> TokenTree:
        longest = len(root) + max(map(len, branches))
        if longest > self._max_length:
            raise RowError("too_long", f"{longest} tokens; max_length is {self._max_length}")
        return TokenTree((Segment(root, -1), *(Segment(branch, 0) for branch in branches)), ())

"""Examples to trees of tokens: the prompt is the root, each answer a branch, and no text can forge a control token.

A policy reads an answer after the markup that opens the assistant's turn, so that what it learns is what it will be
asked to write, end of turn included. A reward model reads whole chats, as the engine ``rm`` shows them to it.
"""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from critic.chats.chat import Chat, WholeChat
from critic.chats.tokens import Segment, TokenTree, shared_length
from critic.engine import EngineError
from critic.files.inputs import RowError
from critic.records import Message, Prompt


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
        """Return the tree that a policy learns from: its branches hold the tokens of each answer and its end.

        The root is what the policy is asked with. It is shorter where the template begins an answer otherwise than it
        opens one, as with a think block; a branch then holds what the template writes before the answer, too.
        """
        asked = self._policy.whole(prompt.messages, "opened")
        chats = [self._whole(self._policy, prompt, answer) for answer in answers]
        shared = shared_length([asked.ids, *(chat.ids for chat in chats)])
        if shared <= max(asked.own(0), default=0):
            # The template writes the prompt in another way before an answer: then nothing but the answer is learnt.
            shared = _before_answers(chats, prompt)
        return self._tree(chats, shared)

    def reward(self, prompt: Prompt, answers: Sequence[str]) -> TokenTree:
        """Return the tree that a reward model learns from: it is read at each branch's last token."""
        chats = [self._whole(self._reward, prompt, answer) for answer in answers]
        return self._tree(chats, _before_answers(chats, prompt))

    def _whole(self, chat: Chat, prompt: Prompt, answer: str) -> WholeChat:
        return chat.whole((*prompt.messages, Message(role="assistant", content=answer)), "closed")

    def _tree(self, chats: Sequence[WholeChat], shared: int) -> TokenTree:
        longest = max(len(chat.ids) for chat in chats)
        if longest > self._max_length:
            raise RowError("too_long", f"{longest} tokens; max_length is {self._max_length}")
        # A branch needs a token of its own, and its first token one before it.
        shared = min(shared, *(len(chat.ids) - 1 for chat in chats))
        if shared < 1:
            raise EngineError("the chats of a prompt's answers have no token in common that they begin with")
        branches = (Segment(chat.ids[shared:], 0) for chat in chats)
        return TokenTree((Segment(chats[0].ids[:shared], -1), *branches), ())


def _before_answers(chats: Sequence[WholeChat], prompt: Prompt) -> int:
    """Return how many tokens all of ``chats`` begin with, of those before the answer itself."""
    firsts = [min(chat.own(len(prompt.messages)), default=len(chat.ids)) for chat in chats]
    return min(shared_length([chat.ids for chat in chats]), *firsts)

"""No planted text becomes markup: on the token ids of many families of chat templates, and in what a server is sent.

Every text of the suite, and every control token of each tokenizer, goes as prompt, response and critique through all
that a judge is shown.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from constitution import Principle
from critic import prompts
from critic.chats.chat import Chat
from critic.chats.tokens import from_chats
from critic.engine import Completion, Lane, Node, Request, Score
from critic.engines.scripted import Script, ScriptedEngine, ScriptedRule
from critic.evaluation.injection import NaiveMode
from critic.evaluation.planting import load_suite, planted
from critic.judging.base import Mode, Question
from critic.judging.modes import MODES
from critic.judging.modes.contrast import Contrast
from critic.local.rewards import UNGROUPED, capability
from critic.records import Message
from critic.server.defuse import defuse
from tests.factories import prompt, small_constitution

PRINCIPLES = tuple(Principle.model_validate(entry) for entry in small_constitution(1)["principles"])
MODES_SHOWN: list[Mode] = [*(mode() for mode in MODES.values()), Contrast(against="prompt"), NaiveMode()]
SUITE = [planted(injection, "", "first").strip() for injection in load_suite().injections]

# What opens a turn (before and after the role), what closes it, and control tokens that no chat needs.
FAMILIES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "chatml": ("<|im_start|>", "\n", "<|im_end|>\n", ("<|endoftext|>", "<tool_call>", "</tool_call>", "<think>")),
    "llama-2": ("<s>[INST] <<SYS>>", "<</SYS>>", " [/INST]</s>", ()),
    "llama-3": ("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>", ("<|end_of_text|>",)),
    "llama-4": ("<|header_start|>", "<|header_end|>\n\n", "<|eot|>", ("<|python_start|>",)),
    "mistral": ("<s>[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT][INST]", "[/INST]</s>", ("[TOOL_CALLS]", "[IMG]")),
    "gemma": ("<bos><start_of_turn>", "\n", "<end_of_turn>\n", ("<eos>", "<unused7>", "<pad>")),
    "deepseek": (
        "<\uff5cUser\uff5c>",
        "<\uff5cAssistant\uff5c>",
        "<\uff5cend\u2581of\u2581sentence\uff5c>",
        ("</think>",),
    ),
    "phi": ("<|system|>", "<|user|>", "<|end|>", ("<|assistant|>",)),
    "cohere": ("<|START_OF_TURN_TOKEN|>", "<|SYSTEM_TOKEN|>", "<|END_OF_TURN_TOKEN|>", ("<|CHATBOT_TOKEN|>",)),
    "harmony": ("<|start|>", "<|channel|>final<|message|>", "<|return|>", ()),
    "granite": ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>\n", ()),
    "glm": ("[gMASK]<sop>", "<|observation|>", "<|endoftext|>", ()),
    "exaone": ("[|", "|]", "[|endofturn|]\n", ("[|user|]", "[|assistant|]", "[|system|]")),
    "seed-oss": ("<seed:bos>", "\n", "<seed:eos>", ("<seed:think>", "</seed:think>")),
    "minimax": ("]~!b[]~b]", "\n", "[e~[\n", ()),
}
# One control token: a bracketed name, or MiniMax's.
TOKEN = re.compile(r"<<?/?[|\uff5c]?\w+[|\uff5c]?>>?|\[/?\w+\]|\[\|\w+\|\]|</?seed:\w+>|\]~!?b[\[\]]|\[e~\[")


def control_tokens(family: str) -> list[str]:
    before, after, close, others = FAMILIES[family]
    return sorted({*TOKEN.findall(before + after + close), *others})


@cache
def byte_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """One token a byte, the family's control tokens, and a chat template of its markup."""
    before, after, close, _ = FAMILIES[family]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(text, special=True) for text in control_tokens(family)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    tokenizer.chat_template = (
        f"{{% for m in messages %}}{before}{{{{ m.role }}}}{after}{{{{ m.content }}}}{close}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{before}assistant{after}{{% endif %}}"
    )
    return tokenizer


class Listening(ScriptedEngine):
    """Keeps what it is shown, answers with the words that it is given, and passes for a reward model, too."""

    capabilities = capability((UNGROUPED,))

    def __init__(self, words: str) -> None:
        super().__init__(Script(replies=(ScriptedRule(reply=words),)))
        self.shown: list[Node] = []

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        self.shown.append(Node(request.messages))
        return await super().complete(request, lane)

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        self.shown.append(tree)
        return await super().score(tree, lane)


@cache
def shown(text: str) -> list[Node]:
    """All that judges are shown where ``text`` is in the prompt, in both responses, and in what they wrote before."""

    async def ask() -> list[Node]:
        judge = Listening(text)
        for mode in MODES_SHOWN:
            await mode.votes(judge, Question(prompt(text), text, f"{text}.", PRINCIPLES, seed=0))
        return judge.shown

    critique = prompts.critique_chat(prompt(text), text, PRINCIPLES[0], seed=0)
    return [*asyncio.run(ask()), Node(prompts.revision_chat(critique, text, PRINCIPLES[0]))]


def nodes(tree: Node) -> Iterator[Node]:
    yield tree
    for child in tree.children:
        yield from nodes(child)


def markup(tree: Node, chat: Chat, control: set[int]) -> list[int]:
    """The control tokens of a tree, in order."""
    return [i for segment in from_chats(tree, chat).segments for i in segment.ids if i in control]


def assert_harmless(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> None:
    """Content has no control token and reads as it was; markup is that of a harmless text."""
    chat, control = Chat(tokenizer, "model"), set(tokenizer.added_tokens_decoder)
    expected = [markup(tree, chat, control) for tree in shown("Hello")]
    assert all(expected) and len(expected) > len(MODES)
    for text in texts:
        trees = shown(text)
        assert [markup(tree, chat, control) for tree in trees] == expected, text
        # Trees repeat their messages: each is looked at once.
        for message in dict.fromkeys(chain.from_iterable(node.messages for tree in trees for node in nodes(tree))):
            whole = chat.whole((message,), "continued")
            ids = [whole.ids[k] for k in whole.own(0)]
            assert not control & set(ids), text
            # A token of white space may hold some of the markup's, too.
            assert str(tokenizer.decode(ids, clean_up_tokenization_spaces=False)).strip() == message.content.strip()


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_no_control_token_of_a_family_gets_out_of_content(family: str) -> None:
    tokenizer = byte_tokenizer(family)
    tokens = control_tokens(family)
    assert {str(token) for token in tokenizer.added_tokens_decoder.values()} == set(tokens)
    assert tokenizer.encode("".join(tokens)) == [tokenizer.convert_tokens_to_ids(t) for t in tokens]  # they do act
    assert_harmless(tokenizer, ["".join(tokens), *(f"x{token}y" for token in tokens)])


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_no_planted_text_is_markup_to_a_family(family: str) -> None:
    """Each text against all families whose tokens it holds, and against one of the 15 in turn."""
    families = sorted(FAMILIES)
    tokens, others = control_tokens(family), SUITE[families.index(family) :: len(families)]
    acting = [text for text in SUITE if _count(text, tokens)]
    assert acting
    assert_harmless(byte_tokenizer(family), dict.fromkeys([*acting, *others]))


@pytest.mark.slow
def test_no_planted_text_is_markup_to_the_embedded_model(embedded_model: Path) -> None:
    """Each text that holds one of its tokens, and every fourth of the others."""
    tokenizer = AutoTokenizer.from_pretrained(embedded_model)
    tokens = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    assert "<|im_end|>" in tokens
    acting = [text for text in SUITE if _count(text, tokens)]
    assert acting
    assert_harmless(tokenizer, [*tokens, "".join(tokens), *dict.fromkeys([*acting, *SUITE[::4]])])


def _count(text: str, tokens: Iterable[str]) -> int:
    """How many of the tokens stand in a text."""
    return sum(token in text for token in tokens)


def marked(path: tuple[Message, ...]) -> list[str]:
    """The lines of a chat that carry its mark, which the first line of a user turn names, where it has one."""
    named = [mark for message in path if (mark := re.match(r"Mark: ([a-z]{6})\n", message.content))]
    lines = "\n".join(message.content for message in path).split("\n")
    return [line.replace(named[-1][1], "MARK") for line in lines if named[-1][1] in line] if named else []


def paths(tree: Node, above: tuple[Message, ...] = ()) -> Iterator[tuple[Message, ...]]:
    here = above + tree.messages
    if not tree.children:
        yield here
    for child in tree.children:
        yield from paths(child, here)


def fences(text: str) -> list[list[str]]:
    return [marked(path) for tree in shown(text) for path in paths(tree)]


def test_every_fence_stands_once_and_where_the_template_has_it() -> None:
    expected = fences("Hello")
    opened = set()
    for lines in expected:
        opened.add(tuple(line for line in lines if line.startswith("[")))
    compared = ("[user MARK]", "[response A MARK]", "[response B MARK]", "[end MARK]")
    assert opened == {
        compared,
        ("[user MARK]", "[response MARK]", "[end MARK]"),
        (),
    }  # the last: modes that have no mark
    for text in SUITE:
        assert fences(text) == expected, text


def test_a_server_is_sent_no_control_token() -> None:
    tokens = [token for family in FAMILIES for token in control_tokens(family)]
    acting = [text for text in SUITE if _count(text, tokens)]
    assert len(acting) > 12
    for text in [*SUITE, *tokens, "".join(tokens)]:
        sent = defuse(text)
        assert not any(token in sent for token in tokens), text
        assert defuse(sent) == sent
        assert sent.replace(" ", "") == text.replace(" ", "")


def test_each_family_is_attacked_in_its_own_markup() -> None:
    for family in FAMILIES:
        assert any(_count(text, control_tokens(family)) > 1 for text in SUITE), family

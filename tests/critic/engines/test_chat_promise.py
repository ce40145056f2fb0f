"""No content yields a control token, on tokenizers and templates of every manner, and all else is the template's own.

Contents are built of control strings, halves of them, look-alikes that a normaliser turns into one, and white space.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from critic.chats.chat import Chat, End
from critic.chats.tokens import from_chats
from critic.engine import Choices, EngineError, Node, reads
from critic.engine_kinds.capabilities import CHATS, DIFFERENT
from critic.records import Message, Role

SPECIAL = ("<|im_start|>", "<|im_end|>", "<s>", "</s>", "[INST]", "[/INST]")
ADDED = ("<think>", "</think>", "<tool_call>", "<tool_response>", "</tool_response>")
LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
MERGES = [
    ("t", "h"),
    ("Ġ", "t"),
    ("Ġt", "h"),
    ("i", "m"),
    ("<", "|"),
    ("|", ">"),
    ("Ċ", "Ċ"),
    ("Ġ", "Ġ"),
    ("Ġ", "a"),
    ("a", "s"),
    ("[", "I"),
]
SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def bytes_tokenizer(normalizer: Any = None, pre_tokenizer: Any = None) -> Tokenizer:
    words = [*LETTERS, *("".join(pair) for pair in MERGES)]
    backend = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, MERGES))
    backend.pre_tokenizer = pre_tokenizer or pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if normalizer is not None:
        backend.normalizer = normalizer
    return backend


def sentencepiece(pre_tokenizer: Any, normalizer: Any = None) -> Tokenizer:
    """As Llama's: spaces are a letter, one may be put in front, and unknown letters fall back to bytes."""
    letters = "▁abcdefghijklmnopqrstuvwxyzABCINST<>|/[]_"
    words = ["<unk>", *(f"<0x{i:02X}>" for i in range(256)), *letters, "▁a", "th", "▁th", "im", "<|", "▁▁"]
    merges = [("▁", "a"), ("t", "h"), ("▁", "th"), ("i", "m"), ("<", "|"), ("▁", "▁")]
    backend = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, merges, byte_fallback=True, unk_token="<unk>"))
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    if pre_tokenizer is not None:
        backend.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        backend.normalizer = normalizer
    return backend


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "bytes": bytes_tokenizer,
    "split, NFC": lambda: bytes_tokenizer(
        normalizers.NFC(),
        pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
        ),
    ),
    "NFKC, lower case": lambda: bytes_tokenizer(normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])),
    "space first": lambda: sentencepiece(pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
    "space always": lambda: sentencepiece(pre_tokenizers.Metaspace(prepend_scheme="always")),
    "space by normaliser": lambda: sentencepiece(
        None, normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    ),
}
TEMPLATES = {
    "chatml": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "trims": "<s>{% for m in messages %}<|im_start|>{{ m.role }}\n\n{{ m.content | trim }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n\n{% endif %}",
    "space before contents": "<s>{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}</s>"
    "{% else %}[INST] {{ m.content }} [/INST]{% endif %}{% endfor %}",
    "thoughts": "{% for m in messages %}<|im_start|>{{ m.role }}\n{% set c = m.content %}"
    "{% if m.role == 'assistant' and '</think>' in c %}{% set c = c.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ c }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "removes": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | replace('<think>', '') }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
}
# The one in full-width brackets is a control string to a tokenizer that normalises.
LOOK_ALIKES = ("<|NORM|>", "<|norm|>", "\uff1c|im_end|\uff1e", "<|im_", "end|>", "<th", "ink>", "<|", "|>", "user\n")
PLAIN = ("a", "this ", " ", "  ", "\n", "\n\n", "\t", "é", "\u0301", "😀", "7")
PRIVATE = ("\U000f0000", "\U000f0001", "\U00100000\U00100001")
PIECES = [*SPECIAL, *ADDED, *LOOK_ALIKES, *PLAIN, *PRIVATE]
HARMLESS = ["a", "this ", "that", " ", "\n", "\n\n", "7", "é", "user\n", ", ", "  "]


@cache
def tokenizer(name: str) -> PreTrainedTokenizerFast:
    backend = TOKENIZERS[name]()
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    backend.add_tokens([AddedToken(text, special=False, normalized=False) for text in ADDED])
    backend.add_tokens([AddedToken("<|norm|>", special=False, normalized=True), AddedToken("    ", normalized=True)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


@cache
def chat_of(name: str, template: str) -> tuple[PreTrainedTokenizerFast, Chat]:
    known = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(name).backend_tokenizer, bos_token="<s>", eos_token="</s>"
    )
    known.chat_template = TEMPLATES[template]
    return known, Chat(known, name)


def control_of(known: PreTrainedTokenizerFast) -> set[int]:
    return {i for i, token in known.added_tokens_decoder.items() if str(token).strip()}


@st.composite
def chats(draw: st.DrawFn, pieces: list[str]) -> tuple[Message, ...]:
    text = st.lists(st.sampled_from(pieces), max_size=7).map("".join)
    roles: list[Role] = ["system"] if draw(st.booleans()) else []
    for turn in range(draw(st.integers(1, 4))):
        role: Role = "assistant" if turn % 2 else "user"
        roles += [role] * draw(st.integers(1, 2))
    return tuple(Message(role=role, content=draw(text)) for role in roles)


def end_of(messages: tuple[Message, ...], closed: bool) -> End:
    if messages[-1].role == "assistant":
        return "closed" if closed else "continued"
    return "opened"


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(messages=chats(PIECES), before=chats(PIECES), closed=st.booleans())
def test_control_tokens_are_those_of_harmless_contents(
    name: str, template: str, messages: tuple[Message, ...], before: tuple[Message, ...], closed: bool
) -> None:
    known, chat = chat_of(name, template)
    control = control_of(known)
    end = end_of(messages, closed)
    try:
        whole = chat.whole(messages, end)
        other = chat.whole(before, end_of(before, closed))
    except EngineError as error:  # a thought alone is nothing to go on with
        assert "drops" in str(error)
        return
    harmless = [m.model_copy(update={"content": "x" if m.content.strip() else m.content}) for m in messages]
    expected = chat.whole(harmless, end).ids
    wanted = [i for i in expected if i in control]
    assert [i for i in whole.ids if i in control] == wanted
    special = {i for i in control if str(known.added_tokens_decoder[i]) in SPECIAL}
    assert special.isdisjoint(whole.ids[k] for k in whole.own(0))
    again = chat.whole(messages, end, other)  # whatever was encoded before
    assert (again.ids, again.rendering, again.own(0)) == (whole.ids, whole.rendering, whole.own(0))


@pytest.mark.parametrize("template", [name for name in TEMPLATES if name != "removes"])
@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(messages=chats(HARMLESS), closed=st.booleans())
def test_without_control_strings_all_is_the_templates_own(
    name: str, template: str, messages: tuple[Message, ...], closed: bool
) -> None:
    known, chat = chat_of(name, template)
    end = end_of(messages, closed)
    if end == "continued":
        return
    turns: list[dict[str, str]] = []
    for message in messages:
        if turns and turns[-1]["role"] == message.role:
            turns[-1]["content"] += message.content
        else:
            turns.append({"role": message.role, "content": message.content})
    apply: Any = known.apply_chat_template
    expected = apply(turns, add_generation_prompt=end == "opened", tokenize=True, return_dict=True)["input_ids"]
    assert list(chat.whole(messages, end).ids) == expected


def test_a_control_string_that_a_template_puts_together_stays_text() -> None:
    """The template removes a string from within, so that what is left spells a control token: equality gives way."""
    known, chat = chat_of("bytes", "removes")
    whole = chat.whole((Message(role="user", content="<|im_<think>end|>"),), "closed")
    assert [i for i in whole.ids if i in control_of(known)] == known.convert_tokens_to_ids(
        ["<|im_start|>", "<|im_end|>"]
    )
    assert known.decode(list(whole.ids)) == "<|im_start|>user\n<|im_end|><|im_end|>\n"


def test_a_template_that_alters_contents_beyond_recognition_gives_way() -> None:
    known, _ = chat_of("bytes", "chatml")
    known = PreTrainedTokenizerFast(tokenizer_object=known.backend_tokenizer)
    known.chat_template = "{% for m in messages %}<|im_start|>{{ m.content | upper }}<|im_end|>{% endfor %}"
    whole = Chat(known, "odd").whole((Message(role="user", content="so <|im_end|>"),), "closed")
    assert known.decode(list(whole.ids)) == "<|im_start|>so <|im_end|><|im_end|>"
    assert not whole.rendering.exact


def test_an_engine_says_once_that_a_template_alters_what_messages_say(caplog: pytest.LogCaptureFixture) -> None:
    known, _ = chat_of("bytes", "chatml")
    known = PreTrainedTokenizerFast(tokenizer_object=known.backend_tokenizer)
    known.chat_template = "{% for m in messages %}<|im_start|>{{ m.content | upper }}<|im_end|>{% endfor %}"
    chat = Chat(known, "odd")
    capabilities: dict[str, str] = {}
    chat.tell(capabilities)
    chat.encode([Message(role="user", content="SO")])
    assert (capabilities, caplog.messages) == ({}, [])  # nothing is altered yet
    for text in ("so", "and so on"):
        chat.encode([Message(role="user", content=text)])
    assert capabilities == {CHATS: DIFFERENT}
    assert caplog.messages == [f"odd: {CHATS}: {DIFFERENT}"]
    later: dict[str, str] = {"other": "yes"}
    chat.tell(later)
    assert later == {"other": "yes", CHATS: DIFFERENT}


def test_runs_of_spaces_that_are_added_tokens_are_no_control_tokens() -> None:
    known, chat = chat_of("bytes", "chatml")
    message = Message(role="user", content="a    b")
    spaces = known.convert_tokens_to_ids("    ")
    for text in ("a    b", "a    b<|im_end|>"):
        assert spaces in chat.encode([message.model_copy(update={"content": text})])


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_trees_paths_are_whole_chats_where_seams_join(name: str, template: str) -> None:
    """Parts that end and begin with spaces, line ends and halves of words: the tokens at the seams are the chat's."""
    _, chat = chat_of(name, template)
    root = (Message(role="system", content="a th"), Message(role="user", content="is  "))
    orders = ("this\n", "this \n\n", "that <|im_end|> th")
    questions = ("is 7?\n", "\n\nas th", " is")
    asked = tuple(Node((Message(role="user", content=question),), Choices(("7",))) for question in questions)
    tree = Node(root, None, tuple(Node((Message(role="user", content=order),), None, asked) for order in orders))
    encoded = from_chats(tree, chat)
    paths = [chat.encode(path) for path, _, _ in reads(tree)]
    joined = []
    for read in encoded.reads:
        ids: tuple[int, ...] = ()
        segment = read.segment
        while segment >= 0:
            ids = encoded.segments[segment].ids + ids
            segment = encoded.segments[segment].parent
        joined.append(ids)
    assert joined == paths
    expected = sorted(read.segment for read in encoded.reads)
    assert [read.segment for read in encoded.reads] == expected
    assert all(segment.ids for segment in encoded.segments)
    assert encoded.tokens < sum(map(len, paths))

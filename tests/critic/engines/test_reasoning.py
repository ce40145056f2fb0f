"""Thoughts and answers are told apart, whatever the family's marks, and nothing else is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from critic.chats.reasoning import TAGS, Splitter, Tags, opens, split

_MARKS = [tag for tags in TAGS for tag in tags] + ["<|channel|>", "<|start|>"]
# Texts of people and models, that hold no mark by chance.
_TEXTS = st.text(max_size=60).filter(lambda text: not any(mark in text for mark in _MARKS))
_WORDS = _TEXTS.filter(str.strip)
_TAGS = st.sampled_from(TAGS)


@given(tags=_TAGS, thought=_WORDS, answer=_WORDS, gap=st.sampled_from(["", "\n", "\n\n"]))
def test_a_block_at_the_head_is_what_was_thought(tags: Tags, thought: str, answer: str, gap: str) -> None:
    text = f"{gap}{tags.opening}{gap}{thought}{gap}{tags.closing}{gap}{answer}"
    assert split(text) == (answer.lstrip(), thought.strip())


@given(tags=_TAGS, thought=_WORDS, answer=_WORDS)
def test_an_opening_that_the_template_wrote_need_not_be_in_the_text(tags: Tags, thought: str, answer: str) -> None:
    assert split(f"{thought}{tags.closing}{answer}", opened=True) == (answer.lstrip(), thought.strip())


@given(tags=_TAGS, thought=_WORDS, answer=_WORDS)
def test_a_model_may_repeat_the_opening_that_the_template_wrote(tags: Tags, thought: str, answer: str) -> None:
    text = f"{tags.opening}{thought}{tags.closing}{answer}"
    assert split(text, opened=True) == split(text)


@given(tags=_TAGS, thought=_TEXTS)
def test_thoughts_that_never_end_leave_no_answer(tags: Tags, thought: str) -> None:
    assert split(f"{tags.opening}{thought}") == ("", thought.strip())
    assert split(thought, opened=True) == ("", thought.strip())


@given(text=_TEXTS)
def test_a_text_without_marks_is_returned_to_the_last_space(text: str) -> None:
    assert split(text) == (text, None)


@given(tags=_TAGS, before=_WORDS, inside=_TEXTS, after=_TEXTS)
def test_marks_in_the_middle_of_an_answer_belong_to_it(tags: Tags, before: str, inside: str, after: str) -> None:
    text = f"{before}{tags.opening}{inside}{tags.closing}{after}"
    assert split(text) == (text, None)


@given(tags=_TAGS, thought=_WORDS, answer=_WORDS, rest=_TEXTS)
def test_an_answer_after_thoughts_keeps_its_own_marks(tags: Tags, thought: str, answer: str, rest: str) -> None:
    answer = f"x{answer} {tags.opening}{rest}{tags.closing}{rest}"
    assert split(f"{tags.opening}{thought}{tags.closing}\n\n{answer}") == (answer, thought.strip())


_PIECES = st.sampled_from(["7", " ", "\n", "`", *_MARKS, "final<|message|>", "<|end|>"])


@given(text=st.lists(_PIECES, max_size=12).map("".join), opened=st.booleans())
def test_nothing_is_said_twice_and_the_answer_is_the_end_of_the_text(text: str, opened: bool) -> None:
    answer, thoughts = split(text, opened=opened)
    assert answer.count("7") + (thoughts or "").count("7") <= text.count("7")
    if "<|channel|>" not in text:
        assert text.endswith(answer)
        assert answer.count("7") + (thoughts or "").count("7") == text.count("7")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plan: be brief\n</think>\n\nHello.", ("Hello.", "plan: be brief")),
        ("plan: be brief\n</think>", ("", "plan: be brief")),
        # Whoever writes about the tag isn't thinking.
        ("Close it with </think> at the end.", None),
        ("It ends so:\n```\nplan\n</think>\n```", None),
        ("Both `<think>` and\n</think>\nare tags.", None),
        ("one\n</think>\ntwo\n</think>\nthree", None),
    ],
)
def test_a_closing_alone_ends_thoughts_only_where_nothing_else_can_be_meant(text: str, expected: Any) -> None:
    assert split(text) == (expected or (text, None))


def test_an_empty_block_is_no_thought() -> None:
    assert split("<think>\n\n</think>\n\nHello.") == ("Hello.", None)
    assert split("<think></think>") == ("", None)


def test_several_blocks_are_one_thought() -> None:
    assert split("<think>a</think>\n<think>b</think>\nHello.") == ("Hello.", "a\n\nb")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "<|channel|>analysis<|message|>They greet.<|end|><|start|>assistant<|channel|>final<|message|>Hello.",
            ("Hello.", "They greet."),
        ),
        ("<|channel|>final<|message|>Hello.<|return|>", ("Hello.", None)),
        ("<|channel|>analysis<|message|>They gr", ("", "They gr")),
        ("<|channel|>", ("", "")),
        (
            "<|channel|>analysis<|message|>One.<|end|><|start|>assistant<|channel|>commentary<|message|>Two.<|end|>"
            '<|start|>assistant<|channel|>final <|constrain|>json<|message|>{"better":"A"}',
            ('{"better":"A"}', "One.\n\nTwo."),
        ),
    ],
)
def test_of_channels_the_final_one_is_the_answer(text: str, expected: Any) -> None:
    assert split(text) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("<|im_start|>assistant\n<think>\n", True),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", False),
        ("<|im_start|>assistant\n", False),
        ("[INST]x[/INST][THINK]", True),
    ],
)
def test_a_prompt_that_ends_with_an_opening_tag_opens_thoughts(prompt: str, expected: bool) -> None:
    assert opens(prompt) is expected


def _tokenizer(*special: str) -> PreTrainedTokenizerFast:
    """One token a byte, and control tokens."""
    backend = Tokenizer(BPE(vocab={c: i for i, c in enumerate(sorted(ByteLevel.alphabet()))}, merges=[]))
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    backend.decoder = ByteLevelDecoder()
    backend.add_special_tokens([AddedToken(text, special=True) for text in special])
    return PreTrainedTokenizerFast(tokenizer_object=backend)


@pytest.mark.parametrize(
    ("special", "prompt", "written", "expected"),
    [
        # Marks that are control tokens are seen, though a text without control tokens lacks them.
        (("<think>", "</think>", "<eot>"), "Hi", "<think>a</think>\nb<eot>", ("b", "a")),
        (("[THINK]", "[/THINK]"), "Hi", "[THINK]a[/THINK]b", ("b", "a")),
        (("<think>", "</think>"), "Hi<think>\n", "a</think>b", ("b", "a")),
        (("<think>", "</think>"), "Hi<think>\n", "a and so on", ("", "a and so on")),
        (("<think>", "</think>"), "Hi<think>\n\n</think>\n\n", "b", ("b", None)),
        (("<|channel>", "<channel|>"), "Hi", "<|channel>thought\na\n<channel|>b", ("b", "a")),
        (
            ("<|channel|>", "<|message|>", "<|end|>", "<|start|>"),
            "Hi",
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b",
            ("b", "a"),
        ),
        # Phi-3 ends turns with a token of that name, and it is no text.
        (("<|end|>", "<|user|>"), "Hi", "b<|end|><|user|>", ("b", None)),
        # Where the marks are plain text nothing is different.
        (("<eot>",), "Hi", "<think>a</think>\nb<eot>", ("b", "a")),
    ],
)
def test_ids_are_split_with_the_marks_that_are_control_tokens(
    special: tuple[str, ...], prompt: str, written: str, expected: Any
) -> None:
    tokenizer = _tokenizer(*special)
    assert Splitter(tokenizer).split(tokenizer.encode(prompt), tokenizer.encode(written)) == expected


@pytest.mark.parametrize(
    ("template", "prompt", "expected"),
    [
        ("{{ messages }}", "assistant\n", False),
        ("{{ '<think>' + m.reasoning + '</think>' }}", "assistant\n", True),
        ("{{ '<think>' + m.reasoning + '</think>' }}", "assistant\n<think>\n\n</think>\n\n", False),
        ("{{ messages }}", "assistant\n<think>\n", True),
        ("{{ '<|channel|>analysis<|message|>' }}", "<|start|>assistant", True),
        ("{{ '<|channel>thought' }}", "<|turn>model\n", True),
    ],
)
def test_a_template_tells_whether_its_model_thinks(template: str, prompt: str, expected: bool) -> None:
    tokenizer = _tokenizer("<think>", "</think>")
    tokenizer.chat_template = template
    assert Splitter(tokenizer).thinks(tokenizer.encode(prompt)) is expected

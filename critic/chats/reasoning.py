"""What a model thought before it answered, told apart from the answer. Pure text in, two texts out.

Families mark their thoughts in two manners. Most write them between two tags at the head of the text, or begin inside
such a block because the template has written its opening already. gpt-oss writes one message a channel (OpenAI's
"harmony"), of which the one in the channel ``final`` is the answer.

Only the head of a text is read: a tag in the middle of an answer is something that the answer is about.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:  # servers' engines split texts without transformers
    from transformers import PreTrainedTokenizerBase


class Tags(NamedTuple):
    """How a family begins and ends its thoughts."""

    opening: str
    closing: str


TAGS: Final = (
    Tags("<think>", "</think>"),  # Qwen3, DeepSeek-R1, GLM-4.5, Nemotron, LFM2, SmolLM3, Phi-4-reasoning, OLMo 3
    Tags("<thinking>", "</thinking>"),
    Tags("<thought>", "</thought>"),  # Gemini, as its OpenAI-compatible server writes it
    Tags("<reasoning>", "</reasoning>"),
    Tags("[THINK]", "[/THINK]"),  # Magistral
    Tags("<seed:think>", "</seed:think>"),  # Seed-OSS
    Tags("<|channel>thought", "<channel|>"),  # Gemma 4
    Tags("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
    Tags("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    Tags("◁think▷", "◁/think▷"),  # Kimi
)
_OPENINGS: Final = tuple(tags.opening for tags in TAGS)
_CLOSINGS: Final = re.compile("|".join(re.escape(tags.closing) for tags in TAGS))
_CLOSING_OF: Final = {tags.opening: re.compile(re.escape(tags.closing)) for tags in TAGS}

# One message of harmony: an optional head, the channel (with a recipient or a constraint), and its text up to where the
# next begins or the text ends.
_HARMONY: Final = re.compile(
    r"\s*(?:<\|start\|>assistant)?<\|channel\|>(?P<channel>\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>"
    r"(?P<text>.*?)(?:<\|end\|>|<\|return\|>|<\|call\|>|(?=<\|start\|>assistant<\|channel\|>)|\Z)",
    re.DOTALL,
)
_HARMONY_HEADS: Final = ("<|channel|>", "<|start|>assistant<|channel|>")
_FINAL: Final = "final"
_ANALYSIS: Final = "<|channel|>analysis"

# An opening tag takes at most so many tokens, with the white space after it.
_TAIL: Final = 16
_CHANNEL: Final = "<|channel|>"
# What a tokenizer may hold as control tokens. Those of the second manner mean something else to other families.
_TAG_TOKENS: Final = frozenset([*(tag for tags in TAGS for tag in tags), "<|channel>"])
_HARMONY_TOKENS: Final = frozenset(
    [_CHANNEL, "<|message|>", "<|start|>", "<|end|>", "<|return|>", "<|call|>", "<|constrain|>"]
)


def split(text: str, *, opened: bool = False) -> tuple[str, str | None]:
    """Return the answer in ``text``, and the thoughts before it: None where there are none.

    ``opened`` says that the template wrote the opening tag, so that the text begins inside the thoughts. Thoughts that
    never end leave the answer empty. A text without thoughts is returned as it is, to the last space.
    """
    if text.lstrip().startswith(_HARMONY_HEADS):
        return _channels(text)
    thoughts: list[str] = []
    rest = text
    if opened and not rest.lstrip().startswith(_OPENINGS):
        before, closed, rest = _cut(rest, _CLOSINGS)
        thoughts.append(before)
        if not closed:
            return "", _joined(thoughts) or ""
    while (opening := _opening(rest)) is not None:
        before, closed, rest = _cut(rest.lstrip().removeprefix(opening), _CLOSING_OF[opening])
        thoughts.append(before)
        if not closed:
            return "", _joined(thoughts) or ""
    if not thoughts and (alone := _alone(rest)) is not None:
        thoughts.append(rest[: alone.start()])
        rest = rest[alone.end() :]
    return (rest.lstrip(), _joined(thoughts)) if thoughts else (text, None)


def opens(prompt: str) -> bool:
    """Whether a prompt as the template renders it ends inside thoughts, because the template wrote their opening."""
    return prompt.rstrip().endswith(_OPENINGS)


def _opening(text: str) -> str | None:
    """The opening tag that ``text`` begins with."""
    head = text.lstrip()
    return next((opening for opening in _OPENINGS if head.startswith(opening)), None)


def _cut(text: str, closing: re.Pattern[str]) -> tuple[str, bool, str]:
    """Cut at the first closing tag: what is before it, whether it is there, and what follows."""
    mark = closing.search(text)
    if mark is None:
        return text, False, ""
    return text[: mark.start()], True, text[mark.end() :]


def _alone(text: str) -> re.Match[str] | None:
    """The closing tag of thoughts whose opening was the template's, where nothing else can be meant by it.

    Whoever writes about tags names both, or puts one inside a line or into code.
    """
    marks = list(_CLOSINGS.finditer(text))
    if len(marks) != 1 or any(opening in text for opening in _OPENINGS):
        return None
    [closing] = marks
    before, after = text[: closing.start()], text[closing.end() :]
    if before.count("```") % 2:
        return None
    return closing if before.endswith("\n") and (not after or after.startswith("\n")) else None


def _channels(text: str) -> tuple[str, str | None]:
    """Read a text of gpt-oss: the answer is the channel ``final``, all other channels are thoughts."""
    messages = [(match["channel"], match["text"]) for match in _HARMONY.finditer(text)]
    thoughts = [said for channel, said in messages if channel != _FINAL]
    answer = "".join(said for channel, said in messages if channel == _FINAL)
    if any(channel == _FINAL for channel, _ in messages):
        return answer, _joined(thoughts)
    return "", _joined(thoughts) or ""


def _joined(thoughts: Iterable[str]) -> str | None:
    """The thoughts as one text; None where there was a place for them and nothing in it."""
    said = [stripped for thought in thoughts if (stripped := thought.strip())]
    return "\n\n".join(said) if said else None


class Splitter:
    """Splits token ids, for tokenizers in which the marks of thoughts are control tokens.

    Those vanish where a text is decoded without control tokens, and with them what tells thoughts from answer.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        special = {int(i): str(token).strip() for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._tags = frozenset(i for i, text in special.items() if text in _TAG_TOKENS)
        self._channels = frozenset(i for i, text in special.items() if text in _HARMONY_TOKENS)
        self._channel = frozenset(i for i, text in special.items() if text == _CHANNEL)
        self._special = frozenset(special)

    def split(self, prompt: Sequence[int], ids: Sequence[int]) -> tuple[str, str | None]:
        """Return the answer in ``ids``, which were written after ``prompt``, and the thoughts before it."""
        marks = self._tags | self._channels if not self._channel.isdisjoint(ids) else self._tags
        text = self._text([i for i in ids if i not in self._special or i in marks])
        return split(text, opened=opens(self._text(list(prompt[-_TAIL:]))))

    def thinks(self, prompt: Sequence[int]) -> bool:
        """Whether a model is to think before it answers, as its template and the end of a ``prompt`` tell."""
        end = self._text(list(prompt[-_TAIL:]))
        if opens(end):
            return True
        if _CLOSINGS.search(end) is not None:  # a template that keeps a model from thinking writes an empty block
            return False
        template = str(self._tokenizer.chat_template)
        return any(opening in template for opening in (*_OPENINGS, _ANALYSIS))

    def _text(self, ids: list[int]) -> str:
        text = self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

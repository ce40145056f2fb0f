"""Text to token ids, as the model's tokenizer has them, but for control strings that don't act as such.

`TextEncoder.encode` gives the tokenizer's own ids wherever no control token comes out of content. Where one does, the
text goes through a twin of the tokenizer instead, that knows the control tokens by other names: the markup's are put
under these names, and what content spells is text to it. All else is as before, for the twin sees the same pieces.

A long text that begins as an earlier one did is encoded from the last place at which the rest can't hang on what
stands before it: a control token, or a word's beginning where the tokenizer's splitting into words looks ahead only.
"""

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerBase

from base.errors import InputError
from critic.chats.rendering import Rendering
from critic.engine import EngineError

_NAMES = range(0x100000, 0x10FFFE)
"""Where the twin's first characters of its names for control tokens come from: the last private plane."""
_LOOK_AHEAD = 24
"""Characters, with at least three words among them, that a split into words is taken to look ahead at most."""
_NORMALIZERS = ("NFC", "NFD", "NFKC", "NFKD", "Lowercase")
# What makes a regular expression look at what stands before a match.
_LOOKS_BACK = re.compile(r"\(\?<|\\[AbBGzZ]|(?<![\[\\])\^|(?<!\\)\$")


@dataclass(frozen=True, slots=True)
class EncodedText:
    """A text's ids, and where each lies in it: the characters from ``starts[i]`` to ``ends[i]``.

    ``words`` says to which word, by number, each token belongs, where the tokenizer splits texts into words.
    """

    text: str
    ids: list[int]
    starts: list[int]
    ends: list[int]
    words: list[int]
    control: list[int]
    """The indices of control tokens."""
    is_own: bool = True
    """Whether they are the tokenizer's own, with no control string kept from acting."""

    def within(self, start: int, end: int) -> range:
        """Return the indices of the tokens that hold any of the characters from ``start`` to ``end``."""
        return range(bisect_right(self.ends, start), max(bisect_left(self.starts, end), bisect_right(self.ends, start)))


class TextEncoder:
    """Encodes texts for one tokenizer. Raises `InputError` where it is none of the tokenizers library."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, where: str) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise InputError("its tokenizer has no tokenizer.json", where=where, fix="choose a model that has one")
        self._spec: dict[str, Any] = json.loads(backend.to_str())
        self._spec |= {"post_processor": None, "truncation": None, "padding": None}
        self._full = Tokenizer.from_str(json.dumps(self._spec))
        added = {int(i): str(token) for i, token in tokenizer.added_tokens_decoder.items()}
        # Runs of spaces are added tokens of some tokenizers: they forge nothing.
        self.control = frozenset(i for i, text in added.items() if text.strip())
        self._added = added
        self._longest = max(map(len, added.values()), default=0)
        self._looks_ahead_only = _looks_ahead_only(self._spec)
        self._twin = lru_cache(maxsize=4)(self._make_twin)

    def encode(self, rendering: Rendering, before: EncodedText | None = None) -> EncodedText:
        """Encode a chat. ``before`` are another text's tokens, which help where the two begin alike.

        Raises `EngineError` where the vocabulary has no tokens for some content.
        """
        if before is None or not before.is_own:  # what was kept from acting there may act here
            tokens = self._encode(rendering.text)
        else:
            tokens = self._go_on(rendering.text, before)
        markup = [k for k in tokens.control if not _is_content(tokens, k, rendering.spans)]
        if len(markup) == len(tokens.control):
            return tokens
        return self._defused(rendering.text, [(tokens.ids[k], tokens.starts[k], tokens.ends[k]) for k in markup])

    def content(self, text: str) -> tuple[int, ...]:
        """Encode ``text`` as data alone: no id of a control token comes out."""
        return tuple(self._defused(text, []).ids)

    def _encode(self, text: str) -> EncodedText:
        encoding = self._full.encode(text, add_special_tokens=False)
        ids = encoding.ids
        starts, ends = _edges(encoding.offsets)
        words = []
        if self._looks_ahead_only:
            words = [-1 if word is None else word for word in encoding.word_ids]
        return EncodedText(text, ids, starts, ends, words, [k for k, token in enumerate(ids) if token in self.control])

    def _go_on(self, text: str, before: EncodedText) -> EncodedText:
        """Encode ``text``, keeping the tokens of ``before`` up to the last place where both can be cut.

        It is far enough before the first difference that no rule has looked beyond it; that the tokens up to there come
        out as they were is checked all the same.
        """
        same = _common(text, before.text)
        for k in range(bisect_right(before.starts, same - max(_LOOK_AHEAD, self._longest)) - 1, 0, -1):
            if not self._is_break(before, k) or len(before.text[before.starts[k] : same].split()) < 3:
                continue
            start = before.starts[k]
            rest = self._encode(text[start:])
            known = max(1, bisect_right(before.ends, same - _LOOK_AHEAD) - k)
            if rest.ids[:known] != before.ids[k : k + known]:
                break
            word = before.words[k] if before.words else 0
            starts = [start + i for i in rest.starts]
            ends = [start + i for i in rest.ends]
            words = [word + i for i in rest.words]
            control = [k + i for i in rest.control]
            return EncodedText(
                text,
                before.ids[:k] + rest.ids,
                before.starts[:k] + starts,
                before.ends[:k] + ends,
                before.words[:k] + words,
                before.control[: bisect_left(before.control, k)] + control,
            )
        return self._encode(text)

    def _is_break(self, tokens: EncodedText, k: int) -> bool:
        """Whether what stands before token k has no part in what its text, and all after it, is encoded as."""
        first = tokens.starts[k]
        if tokens.ids[k] in self.control:
            return self._added[tokens.ids[k]] == tokens.text[first : tokens.ends[k]].strip()
        # A letter that can't join what stands before it, whatever the normalisation.
        return bool(tokens.words) and tokens.words[k] != tokens.words[k - 1] and tokens.text[first].isascii()

    def _defused(self, text: str, markup: Sequence[tuple[int, int, int]]) -> EncodedText:
        """Encode ``text`` with no other control tokens than ``markup``: (id, start, end), in order."""
        key = next((chr(code) for code in _NAMES if chr(code) not in text), None)
        if key is None:
            raise EngineError("the text holds every character of Unicode's last private plane")
        twin = self._twin(key)
        cuts: set[int] = set()
        while True:
            pieces, places = twin.encode(text, markup, cuts)
            bad = [(a, b) for i, a, b, is_name in pieces if not is_name and i in self.control]
            if not bad:
                break
            # A control token that the vocabulary has as a word, too: cut in two it is none.
            if any(end - start < 2 for start, end in bad):
                start = next(a for a, b in bad if b - a < 2)
                raise EngineError(
                    f"the model's vocabulary has no token for some of the text {text[start : start + 40]!r}"
                )
            cuts |= {(start + end) // 2 for start, end in bad}
        ids = [i for i, *_ in pieces]
        starts = [a for _, a, *_ in pieces]
        ends = [b for _, _, b, _ in pieces]
        return EncodedText(text, ids, starts, ends, [], places, is_own=False)

    def _make_twin(self, key: str) -> "_Twin":
        return _Twin(self._spec, self._added, self.control, key)


class _Twin:
    """A tokenizer that finds control tokens under names that begin with ``key``, and under no other."""

    def __init__(self, spec: dict[str, Any], added: dict[int, str], control: frozenset[int], key: str) -> None:
        plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        kept = [entry for entry in spec["added_tokens"] if not entry["content"].strip()]
        # The last name is a cut: it is put where two pieces must not be read as one, and taken out again.
        self._names = {i: key + chr(_NAMES.start + place) for place, i in enumerate(sorted(control))}
        self._cut = key + chr(_NAMES.start + len(control))
        entries = [{"id": i, "content": name, **plain} for i, name in [*self._names.items(), (0, self._cut)]]
        self._tokenizer = _with_tokens(spec, kept, entries)
        self._meant = {self._tokenizer.token_to_id(name): i for i, name in self._names.items()}
        for entry in kept:
            number = self._tokenizer.token_to_id(entry["content"])
            self._meant[number] = next(i for i, text in added.items() if text == entry["content"])
        self._cut_id = self._tokenizer.token_to_id(self._cut)

    def encode(
        self, text: str, markup: Sequence[tuple[int, int, int]], cuts: set[int]
    ) -> tuple[list[tuple[int, int, int, bool]], list[int]]:
        """Return (id, start, end, whether it is an added token) of each token, and the indices of ``markup``."""
        edits = [(start, end, self._names[i]) for i, start, end in markup]
        edits += [(at, at, self._cut) for at in cuts]
        pieces, back, at = [], [], 0
        for start, end, name in sorted(edits):
            pieces += [text[at:start], name]
            back += [*range(at, start), *([start] * len(name))]
            at = end
        pieces.append(text[at:])
        back += range(at, len(text) + 1)
        encoding = self._tokenizer.encode("".join(pieces), add_special_tokens=False)
        spans = iter(markup)
        encoded: list[tuple[int, int, int, bool]] = []
        places = []
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if token == self._cut_id:
                continue
            meant = self._meant.get(token)
            if meant in self._names:
                places.append(len(encoded))
                encoded.append((*next(spans), True))
            else:
                first = back[start]
                last = back[end - 1] + 1 if end > start else first
                encoded.append((token if meant is None else meant, first, last, meant is not None))
        return encoded, places


def _with_tokens(spec: dict[str, Any], kept: list[dict[str, Any]], entries: list[dict[str, Any]]) -> Tokenizer:
    """Return the tokenizer of ``spec`` with other added tokens; their ids are those that come next."""
    tokenizer = Tokenizer.from_str(json.dumps(spec | {"added_tokens": []}))
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    # Added all at once: the tokenizer makes its tables of added tokens anew each time.
    tokens = []
    for entry in [*kept, *entries]:
        tokens.append(AddedToken(entry["content"], **{flag: entry[flag] for flag in flags}))
    tokenizer.add_tokens(tokens)
    return tokenizer


def _is_content(tokens: EncodedText, k: int, spans: Sequence[tuple[int, int, int]]) -> bool:
    """Whether any character of token k, but for white space that it took along, comes from a message."""
    start, end = tokens.starts[k], tokens.ends[k]
    place = max(0, bisect_left(spans, (start, start, 0)) - 1)
    for a, b, _ in islice(spans, place, None):
        if a >= end:
            return False
        if tokens.text[max(a, start) : min(b, end)].strip():
            return True
    return False


def _edges(offsets: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    starts = [start for start, _ in offsets]
    return starts, [end for _, end in offsets]


def _common(one: str, other: str) -> int:
    """Return how many characters both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _looks_ahead_only(spec: dict[str, Any]) -> bool:
    """Whether a text's tokens from a word's beginning on are the same without all that stands before it.

    True of normalisers by character (a cut is only made before ASCII, which joins nothing before it), and of splits by
    one regular expression that does not look back, among splits by single characters.
    """
    normalizers = _flat(spec["normalizer"], "normalizers")
    steps = _flat(spec["pre_tokenizer"], "pretokenizers")
    if spec["model"]["type"] != "BPE" or any(step["type"] not in _NORMALIZERS for step in normalizers):
        return False
    expressions = 0
    for step in steps:
        if step["type"] == "Split" and "Regex" in step["pattern"] and step["behavior"] == "Isolated":
            expressions += 1
            if _LOOKS_BACK.search(re.sub(r"\[\^", "[", step["pattern"]["Regex"])):
                return False
        elif step["type"] == "ByteLevel" and not step["add_prefix_space"]:
            expressions += step["use_regex"]
        elif step["type"] != "Digits" or not step["individual_digits"]:
            return False
    return expressions == 1


def _flat(step: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    if step is None:
        return []
    return [inner for item in step[key] for inner in _flat(item, key)] if step["type"] == "Sequence" else [step]

"""OpenAssistant's message trees, import only: one conversation tree a line.

A message with two or more ranked replies gives a ranking of those; a reply's thumbs (``emojis``) and its mean quality
(``labels``, from 0 to 1) give thumbs and a rating; a reply that a person wrote is a demonstration. Deleted messages
are refused with what follows them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from critic.feedback import (
    AnyLabel,
    DemonstrationLabel,
    Feedback,
    RankingLabel,
    RatingLabel,
    Scale,
    Source,
    ThumbsLabel,
)
from critic.feedback.base import Columns
from critic.feedback.from_file import GIVEN
from critic.feedback.kinds.ranking import dense
from critic.files.inputs import RowError
from critic.files.shapes.base import number, whole
from service.formats.base import Format, Found, Reading, broken, read_rows

_ROLES = {"prompter": "user", "assistant": "assistant"}
_QUALITY = Scale(min=0, max=1, min_means="low quality", max_means="high quality")
_MOST_THUMBS = 1000  # of one message: more is no count of people


class OasstFormat(Format):
    """See the module's docstring."""

    name: ClassVar[str] = "oasst"
    title: ClassVar[str] = "OpenAssistant's message trees"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".json")
    reads: ClassVar[tuple[str, ...]] = ("ranking", "thumbs", "rating", "demonstration")

    def read(self, path: Path, source: Source = "human") -> Reading:
        """Yield what people said in each tree."""
        return read_rows(path, source, _from_tree)


class _MessagePlace(NamedTuple):
    """A message, and the chat that ends with it."""

    message: Columns
    chat: tuple[Columns, ...]


def _from_tree(columns: Columns, where: str, source: Source) -> Iterator[Found]:
    root = columns.get("prompt")
    if not isinstance(root, dict):
        raise RowError("unknown_format", "expected a tree, with its first message in prompt")
    waiting: list[tuple[Columns, tuple[Columns, ...]]] = [(root, ())]
    while waiting:
        message, before = waiting.pop()
        place = f"{where}:{str(message.get('message_id'))[:40]}"
        try:
            chat = (*before, _turn(message, len(before)))
            replies = _replies(message)
        except RowError as error:
            yield broken(place, error)
            continue
        if message["role"] == "prompter":
            yield from _feedback(_MessagePlace(message, chat), replies, place, source)
        waiting += [(reply, chat) for reply in reversed(replies)]


def _turn(message: Columns, depth: int) -> Columns:
    role, text = message.get("role"), message.get("text")
    if message.get("deleted"):
        raise RowError("deleted", "the message was deleted; it and its replies are left out")
    if (
        not isinstance(role, str)
        or role not in _ROLES
        or (role == "prompter") != (depth % 2 == 0)
        or not isinstance(text, str)
    ):
        raise RowError("role_order", "expected the turns of prompter and assistant, each with a text")
    return {"role": _ROLES[role], "content": text}


def _replies(message: Columns) -> list[Columns]:
    replies = message.get("replies") or []
    if not isinstance(replies, list) or not all(isinstance(reply, dict) for reply in replies):
        raise RowError("unknown_format", "replies is not a list of messages")
    return replies


def _feedback(place: _MessagePlace, replies: list[Columns], where: str, source: Source) -> Iterator[Found]:
    answers = [reply for reply in replies if not reply.get("deleted")]
    ranks: list[int] = []
    ranked: list[Columns] = []
    for reply in answers:
        try:
            rank = _whole(reply, "rank")
        except RowError as error:
            yield broken(where, error)
            continue
        if rank is not None:
            ranks.append(rank)
            ranked.append(reply)
    if len(ranked) > 1:
        yield _built(place, ranked, RankingLabel(ranks=dense(ranks)), where, source)
    for reply in answers:
        for said in _labels(reply):
            yield broken(where, said) if isinstance(said, RowError) else _built(place, [reply], said, where, source)


def _whole(columns: Columns, name: str) -> int | None:
    """Return a whole number, None where there is none. A table may hold it as 1.0. Raises `RowError`."""
    value = columns.get(name)
    number = None if isinstance(value, str) else whole(value)
    if value is not None and number is None:
        raise RowError("bad_label", f"{name} is {value!r:.40}; expected a whole number")
    return number


def _labels(reply: Columns) -> Iterator[AnyLabel | RowError]:
    """Yield what was said of a reply, and what can't be read of it."""
    emojis, labels = reply.get("emojis"), reply.get("labels")
    for emoji, thumb in (("+1", "up"), ("-1", "down")):
        try:
            count = _thumbs(emojis, emoji)
        except RowError as error:
            yield error
            continue
        yield from [ThumbsLabel.model_validate({"value": thumb})] * count
    quality = labels.get("quality") if isinstance(labels, dict) else None
    if isinstance(quality, dict) and quality.get("value") is not None:
        value = None if isinstance(quality["value"], str) else number(quality["value"])
        if value is None or not 0 <= value <= 1:
            yield RowError("bad_rating", f"the quality is {quality['value']!r:.40}; expected 0 to 1")
        else:
            yield RatingLabel(value=value, scale=_QUALITY)
    text = reply.get("text")
    if not reply.get("synthetic") and isinstance(text, str) and text.strip():
        yield DemonstrationLabel(text=text)


def _thumbs(emojis: object, emoji: str) -> int:
    count = _whole(emojis, emoji) if isinstance(emojis, dict) else None
    if count is not None and not 0 <= count <= _MOST_THUMBS:
        raise RowError("bad_label", f"{count:,} times {emoji}; expected 0 to {_MOST_THUMBS:,}, as people give them")
    return count or 0


def _built(place: _MessagePlace, replies: list[Columns], label: AnyLabel, where: str, source: Source) -> Found:
    """Return the feedback, or the reason why there can be none; the rest of the tree stands."""
    shown: list[Any] = [] if isinstance(label, DemonstrationLabel) else replies
    responses = [{"text": reply.get("text"), "model": reply.get("model_name") or GIVEN} for reply in shown]
    author = replies[0].get("user_id") if isinstance(label, DemonstrationLabel) else None
    try:
        return Feedback.model_validate(
            {
                "kind": label.kind,
                "prompt": {"messages": place.chat, "id": place.message.get("message_id")},
                "responses": responses,
                "label": label,
                "source": source,
                "annotator": author,
                "where": where,
            }
        )
    except ValueError as error:
        return broken(where, error)

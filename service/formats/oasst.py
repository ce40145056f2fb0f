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
from critic.feedback.ranking import dense
from critic.run.inputs import RowError
from service.formats.base import Format, Found, broken, read_rows
from service.formats.columns import GIVEN

_ROLES = {"prompter": "user", "assistant": "assistant"}
_QUALITY = Scale(min=0, max=1, min_means="low quality", max_means="high quality")
_MOST_THUMBS = 1000  # of one message: more is no count of people


class OasstFormat(Format):
    """See the module's docstring."""

    name: ClassVar[str] = "oasst"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".json")
    reads: ClassVar[tuple[str, ...]] = ("ranking", "thumbs", "rating", "demonstration")

    def read(self, path: Path, source: Source = "human") -> Iterator[Found]:
        """Yield what people said in each tree."""
        return read_rows(path, source, _from_tree)


class _Place(NamedTuple):
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
            yield from _feedback(_Place(message, chat), replies, place, source)
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


def _feedback(place: _Place, replies: list[Columns], where: str, source: Source) -> Iterator[Found]:
    answers = [reply for reply in replies if not reply.get("deleted")]
    ranked = [reply for reply in answers if isinstance(reply.get("rank"), int)]
    if len(ranked) > 1:
        label = RankingLabel(ranks=dense([reply["rank"] for reply in ranked]))
        yield _built(place, ranked, label, where, source)
    for reply in answers:
        for said in _labels(reply):
            yield _built(place, [reply], said, where, source)


def _labels(reply: Columns) -> Iterator[AnyLabel]:
    emojis, labels = reply.get("emojis"), reply.get("labels")
    for emoji, thumb in (("+1", "up"), ("-1", "down")):
        count = emojis.get(emoji, 0) if isinstance(emojis, dict) else 0
        if isinstance(count, int) and count <= _MOST_THUMBS:
            yield from [ThumbsLabel.model_validate({"value": thumb})] * count
    quality = labels.get("quality") if isinstance(labels, dict) else None
    if isinstance(quality, dict) and isinstance(value := quality.get("value"), int | float) and 0 <= value <= 1:
        yield RatingLabel(value=value, scale=_QUALITY)
    text = reply.get("text")
    if not reply.get("synthetic") and isinstance(text, str) and text.strip():
        yield DemonstrationLabel(text=text)


def _built(place: _Place, replies: list[Columns], label: AnyLabel, where: str, source: Source) -> Found:
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

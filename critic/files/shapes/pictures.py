"""Rows about pictures, sounds or films: these stand in columns beside texts that have a mark where each belongs.

LLaMA-Factory and TRL write them so. Without its picture such a prompt is another one, and only texts are read.
"""

from critic.files.shapes.base import PROMPTS, Columns, Shape
from critic.files.turns import texts_in
from critic.rows import RowError

MEDIA = ("images", "image", "audios", "audio", "videos", "video")
_MARKS = ("<image>", "<audio>", "<video>")
_ASKING = (*PROMPTS, "conversations", "conversation", "context")


def _fits(columns: Columns) -> bool:
    if not any(columns.get(name) for name in MEDIA):
        return False
    texts = list(texts_in([columns.get(name) for name in _ASKING]))
    return any(mark in text for text in texts for mark in _MARKS)


def _read(columns: Columns, labels: bool) -> Columns:
    name = next(name for name in MEDIA if columns.get(name))
    raise RowError("not_text", f"the prompt is about what stands in {name}, and only texts are read")


PICTURES = Shape("pictures", MEDIA, _fits, _read, frozenset(MEDIA))

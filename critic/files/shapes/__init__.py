"""The shapes that rows have in this field: asked by every command that reads prompts, answers or labels.

A shape is one file with a `Shape`, and one place in `SHAPES`. A row passes each shape that knows it, in this order, and
comes out in this project's own columns, which are listed in `critic.files.shapes.base`.
"""

from collections.abc import Iterable
from functools import lru_cache

from base.errors import InputError
from critic.files.naming import Naming, read_mapping
from critic.files.shapes import numbered
from critic.files.shapes.base import PROMPTS, Columns, Shape
from critic.files.shapes.chats.demonstration import DEMONSTRATION, LEFT_OUT
from critic.files.shapes.chats.marked import NEMO, RENDERED
from critic.files.shapes.chats.transcripts import MARKED, TRANSCRIPTS
from critic.files.shapes.chats.tree_messages import TREE_MESSAGES
from critic.files.shapes.chats.turns import NAMES, SHAREGPT
from critic.files.shapes.chats.turns_apart import TURNS_APART
from critic.files.shapes.feedback import FEEDBACK, RECORDS
from critic.files.shapes.numbered import NUMBERED
from critic.files.shapes.other_names import (
    CHAT_CONTEXT,
    CONTEXT,
    CONTEXTS,
    EDITS,
    LISTS,
    OTHER_SIDES,
    PREFERENCE,
    SCORE,
    SIDES,
    TAG,
)
from critic.files.shapes.pictures import PICTURES
from critic.files.shapes.preferred import ICAI, SHP, TEXTS
from critic.files.shapes.ranked import COMPLETIONS, GENERATIONS, PRODIGY, RANKED
from critic.files.shapes.single import SINGLE
from critic.files.shapes.steps import MARKED_STEPS, NEXT_STEPS, PROBLEM
from critic.files.shapes.ultrafeedback import ULTRAFEEDBACK

SHAPES: tuple[Shape, ...] = (
    FEEDBACK,
    RECORDS,
    PICTURES,
    TREE_MESSAGES,
    PRODIGY,
    PROBLEM,
    MARKED_STEPS,
    NEXT_STEPS,
    TAG,
    SCORE,
    CONTEXT,
    CHAT_CONTEXT,
    LISTS,
    SIDES,
    PREFERENCE,
    EDITS,
    SHAREGPT,
    TRANSCRIPTS,
    MARKED,
    NEMO,
    RENDERED,
    DEMONSTRATION,
    LEFT_OUT,
    ULTRAFEEDBACK,
    SHP,
    ICAI,
    RANKED,
    COMPLETIONS,
    GENERATIONS,
    NUMBERED,
    SINGLE,
    TURNS_APART,
)

# What a row may hold beside its shape: this project's own columns, those of its exports among them.
OWN = frozenset(
    (
        *PROMPTS,
        *("responses", "chosen", "rejected", "completion", "models", "tags", "id", "prompt_id"),
        *("probability", "margin", "weight", "group", "kind", "label", "rating", "scale", "ranks", "strengths"),
        *("outcome", "votes", "judge", "policy", "model", "chosen_model", "rejected_model", "where"),
        *("source", "annotator", "principle", "constitution", "constitution_hash"),
        *("seconds", "flag", "by_principle", "deciding", "tie_kind"),
        *("sources", "annotators", "principles", "constitutions", "constitution_hashes"),
    )
)
_SHAPED = frozenset(name for shape in SHAPES for name in shape.columns)


def is_read(name: str) -> bool:
    """Whether any shape may read a column of this name."""
    return name in OWN or name in _SHAPED or numbered.reads(name)


PROMPTS_IN = f"{', '.join(PROMPTS)}, conversations or history"
ANSWERS_IN = "responses, or chosen and rejected, or response_a and response_b, output_1 and output_2 and the like"
_SIDES = (
    *(("chosen", "rejected"), ("human_ref_a", "human_ref_b"), ("preferred_output", "non_preferred_output"), TEXTS),
    *OTHER_SIDES,
)
_ASKING = {*PROMPTS, *NAMES, *TEXTS, "history", *CONTEXTS, "chosen", "responses", "completion"}
_ASKING |= {"chosen_conversations", "chosen_messages"}
_ANSWERING = {
    "responses",
    "generations",
    "completions",
    "answers",
    "completion",
    *SINGLE.columns,
    *NAMES,
    "messages",
    "steps",
}


def gives_prompts(names: Iterable[str]) -> bool:
    """Whether a table of these columns can hold prompts."""
    listed = tuple(names)
    return not _ASKING.isdisjoint(listed) or numbered.are_numbered(listed)


def gives_answers(names: Iterable[str]) -> bool:
    """Whether a table of these columns can hold answers to prompts."""
    listed = tuple(names)
    pairs = any(set(sides) <= set(listed) for sides in _SIDES)
    return pairs or not _ANSWERING.isdisjoint(listed) or numbered.are_numbered(listed)


def shaped(columns: Columns, *, labels: bool) -> Columns:
    """Return a row in this project's columns, with its labels where they are asked for.

    A column that holds nothing stays with None: whether it is there can matter. Raises `RowError`.
    """
    place = _fitting(columns, 0)
    while place is not None:
        columns = SHAPES[place].read(columns, labels)
        place = _fitting(columns, place + 1)
    return columns


def _fitting(columns: Columns, start: int) -> int | None:
    """Return the place of the first shape from ``start`` on that a row has."""
    for place in _asked(tuple(columns)):
        if place >= start and SHAPES[place].fits(columns):
            return place
    return None


@lru_cache(maxsize=4096)  # a file's rows have few sets of names, and are millions
def _asked(names: tuple[str, ...]) -> tuple[int, ...]:
    """Return the places of the shapes that a row of these names may have."""
    return tuple(place for place, shape in enumerate(SHAPES) if not shape.keys.isdisjoint(names))


def naming(column: str | None = None) -> Naming:
    """Return which columns are read, with the names that a person gave: see `read_mapping`. Raises `InputError`."""
    mapping = read_mapping(column, is_read, sorted(OWN | _SHAPED))
    prompts = [name for name in (*PROMPTS, *NAMES, "history") if mapping.get(name)]
    if len(prompts) > 1 and set(prompts) != {"instruction", "input"}:
        raise InputError(
            f"{' and '.join(prompts)} are all the prompt",
            where="--column",
            fix="Name one column for it; an instruction may have an input beside it.",
        )
    return Naming(is_read, mapping)

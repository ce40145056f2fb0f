"""Messages of trees, a row each (``message_id``, ``parent_id``, ``role``, ``text``): OpenAssistant's flat files.

A row's ``text`` is a prompt only where it begins a tree and is a person's. What stands further down is an answer, or a
question after others, and says so in no column that is a text: a tree's own file holds the whole of it.
"""

from critic.files.shapes.base import Columns, Shape
from critic.rows import RowError

_COLUMNS = ("message_id", "parent_id", "role", "text")
_PEOPLE = ("prompter", "user")


def _fits(columns: Columns) -> bool:
    return all(name in columns for name in _COLUMNS)


def _read(columns: Columns, labels: bool) -> Columns:
    if columns["parent_id"] is not None or columns["role"] not in _PEOPLE:
        raise RowError(
            "within_a_tree",
            "an answer, or a later question, of a conversation tree; the file of whole trees has what it belongs to, "
            "and cai feedback import --format oasst reads it",
        )
    return columns


TREE_MESSAGES = Shape("messages of trees", _COLUMNS, _fits, _read, frozenset(("parent_id",)))

"""Feedback to the rows of a data set: one row a label, or one for all labels of an item, by a way that has a name.

An item is a prompt with its responses in whatever order (`Feedback.item`). Labels of two groups are never put into one
row, unless ``pool_groups`` was asked for. What gives no row is counted, with the reason. The ways:

    each        a row an annotator
    majority    comparisons and thumbs: the answer that most gave; where no answer leads, the item is dropped as a tie
    soft        comparisons: the mean over annotators of the probability that the chosen one is better, a tie being 0.5;
                thumbs: the share of thumbs up, as a rating from 0 to 1

A tie gives no row, unless people say that both responses are bad: then each is a row, rated down; of several labels
of an item where they tie and more than half say so. With ``majority`` and ``soft`` a ranking orders the responses by
their mean rank (Borda's count), or, where some labels rank some of them alone, by the mean share of the others that
they are above; and a rating is the mean of the ratings on one scale. Each kind says what its mean is. Demonstrations
and corrections have no mean: each is a row. A comparison given twice counts twice; ``weight`` is always 1, and
``labels`` says how many labels a row comes from, for those who weigh by it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Literal

from critic.feedback.base import Columns, Row, Way
from critic.feedback.feedback import Feedback, bound
from critic.messages import is_blank

Method = Literal["each", "majority", "soft"]


def build(
    feedback: Iterable[Feedback],
    method: Method,
    dropped: Counter[str],
    *,
    pool_groups: bool = False,
    sorted_by_item: bool = False,
) -> Iterator[Row]:
    """Yield (table, row) for what trainers can learn, and count in ``dropped`` the labels that give nothing, by reason.

    With ``sorted_by_item`` memory holds the labels of one item at a time; `ValueError` where they are not in the order
    of their items. Without, all labels are held, and items come in the order in which they first appear.
    """
    items = _in_order(feedback) if sorted_by_item else _gathered(feedback)
    for labels in items:
        for bucket in _buckets(labels, pool_groups):
            rows = _each(bucket, dropped) if method == "each" else _together(bucket, method, dropped)
            for table, row in rows:
                if not _says_something(row):
                    dropped["empty_response"] += row["labels"]
                else:
                    yield table, row | ({"group": None} if pool_groups else {})


def _in_order(feedback: Iterable[Feedback]) -> Iterator[list[Feedback]]:
    before = ""
    for item, labels in groupby(feedback, key=lambda label: label.item):
        if item < before:
            raise ValueError("the labels are not sorted by item")
        before = item
        yield list(labels)


def _gathered(feedback: Iterable[Feedback]) -> Iterator[list[Feedback]]:
    items: dict[str, list[Feedback]] = {}
    for label in feedback:
        items.setdefault(label.item, []).append(label)
    yield from items.values()


def _buckets(labels: Iterable[Feedback], pool_groups: bool) -> Iterator[list[Feedback]]:
    """Yield the labels that may share a row: of one kind and group, about one response, on one scale."""
    buckets: dict[tuple[object, ...], list[Feedback]] = {}
    for label in labels:
        about = label.label.about(label.responses)
        key = (label.kind, None if pool_groups else label.group, *about)
        buckets.setdefault(key, []).append(label)
    yield from buckets.values()


def _says_something(row: Columns) -> bool:
    """Whether no answer is empty: trainers refuse those."""
    answers = [row[name][-1]["content"] for name in ("chosen", "rejected", "completion") if name in row]
    return not any(is_blank(text) for text in [*answers, *row.get("responses", ())])


def _each(bucket: Sequence[Feedback], dropped: Counter[str]) -> Iterator[Row]:
    for feedback in bucket:
        rows = list(feedback.rows())
        if not rows:
            dropped[feedback.label.why_no_row()] += 1
        yield from rows


def _together(bucket: Sequence[Feedback], way: Way, dropped: Counter[str]) -> Iterator[Row]:
    """Yield the rows of what all labels of the bucket say together, bound to those that it stands for."""
    order = [response.text for response in bucket[0].responses]
    labels = [feedback.in_order_of(order).label for feedback in bucket]
    mean = type(labels[0]).mean(labels, way)
    if mean is None:
        yield from _each(bucket, dropped)
        return
    dropped.update(mean.dropped)
    if mean.label is None:
        return
    given = [bucket[place] for place in mean.of]
    relabelled = bucket[0].model_copy(update={"label": mean.label, "kind": mean.label.kind})
    for table, row in relabelled.rows():
        yield table, row | bound(given) | {"labels": len(given)}

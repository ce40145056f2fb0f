"""Feedback to the rows of a data set: one row a label, or one for all labels of an item, by a way that has a name.

An item is a prompt with its responses in whatever order (`Feedback.item`). Labels of two groups are never put into one
row, unless ``pool_groups`` was asked for. What gives no row is counted, with the reason. The ways:

    each        a row an annotator
    majority    comparisons and thumbs: the answer that most gave; where no answer leads, the item is dropped as a tie
    soft        comparisons: the mean over annotators of the probability that the chosen one is better, a tie being 0.5;
                thumbs: the share of thumbs up, as a rating from 0 to 1

With ``majority`` and ``soft`` a ranking orders the responses by their mean rank (Borda's count), and a rating is the
mean of the ratings on one scale. Demonstrations and corrections have no mean: each is a row. A comparison given twice
counts twice; ``weight`` is always 1, and ``labels`` says how many labels a row comes from, for those who weigh by it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Literal

from critic.feedback.base import Columns, Row
from critic.feedback.feedback import Feedback, bound
from critic.feedback.kinds.comparison import Choice, ComparisonLabel
from critic.feedback.kinds.ranking import RankingLabel, dense
from critic.feedback.kinds.rating import RatingLabel
from critic.feedback.kinds.thumbs import ThumbsLabel

Method = Literal["each", "majority", "soft"]
Way = Callable[[Sequence[Feedback], Counter[str]], Iterator[Row]]
"""Labels of one item, kind and group to rows; what gives none is counted."""


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
            for table, row in WAYS[method].get(bucket[0].kind, _each)(bucket, dropped):
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
        key = (label.kind, None if pool_groups else label.group, *_about(label))
        buckets.setdefault(key, []).append(label)
    yield from buckets.values()


def _about(feedback: Feedback) -> tuple[object, ...]:
    label = feedback.label
    if isinstance(label, RatingLabel):
        return feedback.responses[label.response].text, label.scale.min, label.scale.max
    return (feedback.responses[label.response].text,) if isinstance(label, ThumbsLabel) else ()


def _says_something(row: Columns) -> bool:
    """Whether no answer is empty: trainers refuse those."""
    answers = [row[name][-1]["content"] for name in ("chosen", "rejected", "completion") if name in row]
    return all(text.strip() for text in [*answers, *row.get("responses", ())])


def _each(bucket: Sequence[Feedback], dropped: Counter[str]) -> Iterator[Row]:
    for feedback in bucket:
        rows = list(feedback.rows())
        if not rows:
            dropped[why_no_row(feedback)] += 1
        yield from rows


def why_no_row(feedback: Feedback) -> str:
    """Return the reason why a label gives trainers nothing: ``tie``, ``unreadable``, ``no_principle``, ``critique``."""
    label = feedback.label
    if isinstance(label, ComparisonLabel):
        return label.outcome
    return "tie" if isinstance(label, RankingLabel) else feedback.kind


def _row(bucket: Sequence[Feedback], labelled: Feedback) -> Iterator[Row]:
    """Yield what ``labelled``, which stands for all of the bucket, gives; bound to all of them."""
    for table, row in labelled.rows():
        yield table, row | bound(bucket) | {"labels": len(bucket)}


def _relabelled(feedback: Feedback, label: ComparisonLabel | RankingLabel | RatingLabel | ThumbsLabel) -> Feedback:
    return feedback.model_copy(update={"label": label, "kind": label.kind})


def _read(bucket: Sequence[Feedback], dropped: Counter[str]) -> tuple[list[Feedback], list[ComparisonLabel]]:
    """Return the comparisons that were read, and their labels for the order of the first one's responses."""
    kept, labels = [], []
    order = [response.text for response in bucket[0].responses]
    for feedback in bucket:
        label = feedback.in_order_of(order).label
        assert isinstance(label, ComparisonLabel)
        if label.choice is None:
            dropped[label.outcome] += 1
        else:
            kept.append(feedback)
            labels.append(label)
    return kept, labels


def _majority_comparison(bucket: Sequence[Feedback], dropped: Counter[str]) -> Iterator[Row]:
    kept, labels = _read(bucket, dropped)
    choice = _leader(Counter(label.choice for label in labels))
    if choice in (None, "tie"):
        dropped["tie"] += len(kept)
    else:
        yield from _row(kept, _relabelled(bucket[0], ComparisonLabel(choice=choice)))


def _leader(counts: Counter[Choice | None]) -> Choice | None:
    """Return the answer given most often; None where two share the lead, or there is none."""
    first, second = [*counts.most_common(2), (None, 0), (None, 0)][:2]
    return first[0] if first[1] > second[1] else None


def _soft_comparison(bucket: Sequence[Feedback], dropped: Counter[str]) -> Iterator[Row]:
    kept, labels = _read(bucket, dropped)
    given = [probability for label in labels if (probability := label.first_is_better) is not None]
    if not given:
        return
    mean = sum(given) / len(given)
    if abs(mean - 0.5) < 1e-12:
        dropped["tie"] += len(kept)
        return
    choice: Choice = "first" if mean > 0.5 else "second"
    yield from _row(kept, _relabelled(bucket[0], ComparisonLabel(choice=choice, probability=mean)))


def _mean_ranking(bucket: Sequence[Feedback], dropped: Counter[str]) -> Iterator[Row]:
    order = [response.text for response in bucket[0].responses]
    labels = [feedback.in_order_of(order).label for feedback in bucket]
    given = [label.ranks for label in labels if isinstance(label, RankingLabel)]
    label = RankingLabel(ranks=dense([sum(ranks) for ranks in zip(*given, strict=True)]))
    if len(set(label.ranks)) == 1:
        dropped["tie"] += len(bucket)
    else:
        yield from _row(bucket, _relabelled(bucket[0], label))


def _mean_rating(bucket: Sequence[Feedback], dropped: Counter[str]) -> Iterator[Row]:
    labels = [feedback.label for feedback in bucket if isinstance(feedback.label, RatingLabel)]
    mean = sum(label.value for label in labels) / len(labels)
    within = min(max(mean, labels[0].scale.min), labels[0].scale.max)  # rounding may leave the scale
    yield from _row(bucket, _relabelled(bucket[0], labels[0].model_copy(update={"value": within})))


def _majority_thumbs(bucket: Sequence[Feedback], dropped: Counter[str]) -> Iterator[Row]:
    up = _ups(bucket)
    if 2 * up == len(bucket):
        dropped["tie"] += len(bucket)
        return
    label = ThumbsLabel(value="up" if 2 * up > len(bucket) else "down", response=_which(bucket[0]))
    yield from _row(bucket, _relabelled(bucket[0], label))


def _soft_thumbs(bucket: Sequence[Feedback], dropped: Counter[str]) -> Iterator[Row]:
    for table, row in _row(bucket, bucket[0]):
        shared = {name: value for name, value in row.items() if name != "label"}
        yield table, shared | {"rating": _ups(bucket) / len(bucket), "scale": [0.0, 1.0]}


def _ups(bucket: Sequence[Feedback]) -> int:
    return sum(isinstance(feedback.label, ThumbsLabel) and feedback.label.value == "up" for feedback in bucket)


def _which(feedback: Feedback) -> int:
    assert isinstance(feedback.label, ThumbsLabel)
    return feedback.label.response


_MEANS: dict[str, Way] = {"ranking": _mean_ranking, "rating": _mean_rating}
WAYS: dict[str, dict[str, Way]] = {
    "each": {},
    "majority": {"comparison": _majority_comparison, "thumbs": _majority_thumbs, **_MEANS},
    "soft": {"comparison": _soft_comparison, "thumbs": _soft_thumbs, **_MEANS},
}
"""By method and kind; kinds that are not named have a row a label."""

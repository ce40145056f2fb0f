"""Feedback for tests: by hand in short words, and strategies for every kind."""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from critic.feedback import Feedback
from critic.messages import is_blank
from critic.records import Vote

LETTERS = st.characters(codec="utf-8", exclude_characters="\0")
TEXT = st.text(LETTERS, min_size=1, max_size=12).filter(lambda text: not is_blank(text))
NAME = st.text("abcdefgh -_@.", min_size=1, max_size=8)
HASH = st.sampled_from(["a" * 64, "b" * 64])


def feedback(
    kind: str, label: dict[str, Any], texts: Sequence[str] = ("The Nile.", "The Po."), **fields: Any
) -> Feedback:
    """A person's label of answers to one question, checked."""
    given = {
        "prompt": {"messages": [{"role": "user", "content": "Name a river."}]},
        "responses": [{"text": text, "model": "given"} for text in texts],
        "source": "human",
        **fields,
    }
    return Feedback.model_validate({**given, "kind": kind, "label": label})


@st.composite
def prompts(draw: st.DrawFn, turns: int = 2) -> dict[str, Any]:
    """A chat of up to ``turns`` rounds, with or without a system message."""
    rounds = draw(st.integers(1, turns))
    roles = ["system"] * draw(st.integers(0, min(1, turns - 1))) + ["user", "assistant"] * rounds
    messages = [{"role": role, "content": draw(TEXT)} for role in roles[:-1]]
    return {"messages": messages, "tags": draw(st.lists(NAME, max_size=2)), "id": draw(st.none() | NAME)}


CHOICES = st.sampled_from(["first", "second", "tie", "unsure"])


def _by_principle(answers: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.just({}) | st.dictionaries(st.sampled_from(["honest", "kind", "short"]), answers, max_size=3)


def _votes(draw: st.DrawFn) -> list[dict[str, Any]]:
    if not draw(st.booleans()):
        return []
    vote = Vote(
        principle="short",
        principle_digest="d" * 64,
        judge="j",
        mode="logprob",
        order="given",
        log_odds=0.5,
        values=(1, 2),
    )
    return [vote.model_dump()]


def _comparison(draw: st.DrawFn, count: int) -> dict[str, Any]:
    choice = draw(st.sampled_from(["first", "second", "tie", None]))
    votes = _votes(draw)
    said: dict[str, Any] = {"votes": votes, "by_principle": draw(_by_principle(CHOICES))}
    if choice is None:
        return {"outcome": draw(st.sampled_from(["unsure", "unreadable", "no_principle"])), **said}
    sixteenths = {"first": (9, 16), "second": (0, 7), "tie": (8, 8)}[choice]
    probability = draw(st.none() | st.integers(*sixteenths).map(lambda n: n / 16))
    strength = draw(st.none() | st.integers(1, 3)) if choice != "tie" else None
    how_much = {} if strength is None else {"strength": strength, "levels": 3}
    if choice == "tie":
        said["tie_kind"] = draw(st.sampled_from(["both_good", "both_bad", None]))
    said["deciding"] = draw(st.lists(st.sampled_from(["honest", "kind"]), max_size=2, unique=True))
    return {"choice": choice, "probability": probability, **said, **how_much}


def _ranking(draw: st.DrawFn, count: int) -> dict[str, Any]:
    numbers = draw(st.lists(st.integers(1, count), min_size=count, max_size=count))
    left_out = draw(st.sets(st.integers(0, count - 1), max_size=count - 2))
    order = sorted({number for place, number in enumerate(numbers) if place not in left_out})
    ranks = [None if place in left_out else order.index(number) + 1 for place, number in enumerate(numbers)]
    return {
        "ranks": ranks,
        "strengths": draw(st.none() | st.just([float(-number) for number in numbers])),
    }


def _rating(draw: st.DrawFn, count: int) -> dict[str, Any]:
    low, high = draw(st.sampled_from([(1.0, 5.0), (0.0, 10.0), (-1.0, 1.0)]))
    return {
        "value": draw(st.floats(low, high) | st.integers(int(low), int(high))),
        "scale": {"min": low, "max": high, "max_means": draw(st.sampled_from(["", "good"]))},
        "response": draw(st.integers(0, count - 1)),
        "by_principle": draw(_by_principle(st.floats(low, high))),
    }


def _thumbs(draw: st.DrawFn, count: int) -> dict[str, Any]:
    return {"value": draw(st.sampled_from(["up", "down"])), "response": draw(st.integers(0, count - 1))}


def _critique(draw: st.DrawFn, count: int) -> dict[str, Any]:
    outcome = draw(st.sampled_from(["critique", "critique", "nothing_to_revise", "unreadable"]))
    spans = [{"start": 0, "end": 1, "response": draw(st.integers(0, count - 1))}] if draw(st.booleans()) else []
    return {"text": draw(TEXT), "outcome": outcome, "spans": spans}


def _demonstration(draw: st.DrawFn, count: int) -> dict[str, Any]:
    return {"text": draw(TEXT)}


def _correction(draw: st.DrawFn, count: int) -> dict[str, Any]:
    return {
        "text": draw(TEXT) + " (edited)",  # longer than any response
        "response": draw(st.integers(0, count - 1)),
        "better": draw(st.booleans()),
    }


LABELS: dict[str, Callable[[st.DrawFn, int], dict[str, Any]]] = {
    "comparison": _comparison,
    "ranking": _ranking,
    "rating": _rating,
    "thumbs": _thumbs,
    "critique": _critique,
    "demonstration": _demonstration,
    "correction": _correction,
}


@st.composite
def feedbacks(draw: st.DrawFn, kinds: Sequence[str] = tuple(LABELS), turns: int = 2) -> Feedback:
    """Feedback of one of ``kinds``, with everything that an envelope can hold."""
    kind = draw(st.sampled_from(list(kinds)))
    count = 2 if kind == "comparison" else draw(st.integers(2, 4))
    texts = draw(st.lists(TEXT, min_size=count, max_size=count, unique=True))
    return Feedback.model_validate(
        {
            "kind": kind,
            "prompt": draw(prompts(turns)),
            "responses": [
                {"text": text, "model": draw(NAME), "finish": draw(st.sampled_from(["stop", "given"]))}
                for text in texts
            ],
            "label": LABELS[kind](draw, count),
            "source": draw(st.sampled_from(["ai", "human"])),
            "annotator": draw(st.none() | NAME),
            "group": draw(st.none() | NAME),
            "constitution": draw(st.none() | NAME),
            "constitution_hash": draw(st.none() | HASH),
            "principle": draw(st.none() | NAME),
            "seconds": draw(st.none() | st.floats(0, 86_400)),
            "flag": draw(st.none() | st.just({"note": ""}) | st.just({"note": "Look."})),
            "where": draw(st.sampled_from(["", "labels.jsonl:3"])),
        }
    )

"""Label Studio's tasks: its JSON export and its JSON-MIN export in, tasks with labels out.

A task's ``data`` holds the prompt and the responses: fields whose names begin as one of `RESPONSES`, in the order of
the task, or those that ``responses`` names; or one list of objects with ``id`` and ``body``, as its Ranker wants it.
What people said is in ``annotations`` (``completions`` before version 1.0), what models said in ``predictions``. Read
are the results of three tags:
``pairwise`` (``selected`` is left or right), ``ranker`` (ids from best to worst, bucket after bucket), and ``rating``,
which is on a scale from 1 to ``stars``. A rating is of the response whose field its ``to_name`` names, or whose number
ends the name of its question. Answers that were skipped are refused by name, and so are results of other tags.

Written are comparisons, rankings and ratings, one task for all labels of the same responses: `usage` says the labelling
configuration that they fit. See docs/source/guide/export.md and the tags' pages of its repository.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import Field

from critic.feedback import ComparisonLabel, Feedback, RankingLabel, RatingLabel, Scale, Source
from critic.feedback.base import Columns, expect_list
from critic.feedback.from_file import GIVEN
from critic.files.inputs import RowError
from critic.files.row_messages import prompt_messages
from service.formats.base import Entry, Format, Found, Reading, Table, broken, count_beside, read_rows, shown

RESPONSES = ("response", "completion", "generation", "answer", "output", "text", "chosen", "rejected", "item")
PROMPTS = ("prompt", "messages", "question", "instruction", "input")
PAIRWISE, RANKER, RATING = "pairwise", "ranker", "rating"
_SIDES = {"left": "first", "right": "second"}
_SELECTED = {choice: side for side, choice in _SIDES.items()}
_TAGS = {"selected": PAIRWISE, "ranker": RANKER, "rating": RATING}
_NUMBER = re.compile(r"(\d{1,3})\Z")
_BODIES = ("body", "text", "html", "title")


class LabelStudioFormat(Format):
    """See the module's docstring. ``prompt`` names the field that holds the prompt."""

    name: ClassVar[str] = "label-studio"
    title: ClassVar[str] = "Label Studio"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)
    reads: ClassVar[tuple[str, ...]] = ("comparison", "ranking", "rating")
    tables: ClassVar[Mapping[Table, tuple[str, ...]]] = MappingProxyType(
        {"feedback": ("id", "data", "annotations", "predictions")}
    )
    loses: ClassVar[str] = (
        "Votes, strengths, times, flags, places in files, how responses ended, tags, groups, constitutions and "
        "principles, the probability of a person's comparison, and what a scale's ends mean. Left out are ties, for "
        "which its Pairwise has no answer; labels that could not be read; rankings with equal ranks, or of only some "
        "responses; ratings other than whole numbers of stars; critiques, demonstrations, corrections and thumbs."
    )

    prompt: str | None = None
    responses: tuple[str, ...] = ()
    stars: int = Field(default=5, ge=2)

    def read(self, path: Path, source: Source = "human") -> Reading:
        """Yield what each annotation says, and then what each prediction does."""
        return read_rows(path, source, self._from_task)

    def usage(self, table: Table, file: Path) -> str:
        """See the base class."""
        return (
            f"import {file} into a project whose labelling configuration has "
            '<Text name="prompt" value="$shown_prompt"/>, <Text name="response_1" value="$response_1"/> and so on, '
            '<Pairwise name="pairwise" toName="response_1,response_2"/>, <List name="items" value="$items"/> with '
            '<Ranker name="ranking" toName="items"/>, '
            f'<Rating name="rating_1" toName="response_1" maxRating="{self.stars}"/> and so on'
        )

    def save(self, table: Table, entries: Iterable[Entry], path: Path) -> Counter[str]:
        """Write one array with a task for each item; memory grows with them, because it is read as a whole."""
        lost: Counter[str] = Counter()
        tasks: dict[str, Columns] = {}
        for feedback in entries:
            assert isinstance(feedback, Feedback)
            key = shown(feedback)
            task = tasks.get(key) or _task(len(tasks) + 1, feedback)
            texts = [task["data"][name] for name in _names(len(feedback.responses))]
            result = self._result(feedback.in_order_of(texts))
            if result is None:
                lost[f"skipped_{feedback.kind}"] += 1
                continue
            tasks[key] = task
            task["annotations" if feedback.source == "human" else "predictions"].append(_said(feedback, result))
            _count_lost(feedback, lost)
        path.write_text(json.dumps(list(tasks.values()), ensure_ascii=False, indent=1), "utf-8")
        return lost

    def _result(self, feedback: Feedback) -> Columns | None:
        """Return a label as the result of a tag; None where no tag can say it."""
        match feedback.label:
            case ComparisonLabel(choice=("first" | "second") as choice):
                return _region("pairwise", "pairwise", PAIRWISE, {"selected": _SELECTED[choice]})
            case RankingLabel(ranks=ranks) if set(ranks) == set(range(1, len(ranks) + 1)):
                names = _names(len(ranks))
                ordered = [names[ranks.index(rank)] for rank in range(1, len(ranks) + 1)]
                return _region("ranking", "items", RANKER, {"ranker": {"ranking": ordered}})
            case RatingLabel(value=value, scale=scale, response=place) if (scale.min, scale.max) == (
                1,
                self.stars,
            ) and float(value).is_integer():
                return _region(f"rating_{place + 1}", f"response_{place + 1}", RATING, {"rating": int(value)})
            case _:
                return None

    def _from_task(self, columns: Columns, where: str, source: Source) -> Iterator[Found]:
        if not isinstance(columns.get("data"), dict):
            yield from self._from_flat(columns, where, source)
            return
        task = _Task(columns["data"], self)
        of_people = "annotations" if columns.get("annotations") else "completions"  # as before version 1.0
        if not columns.get(of_people) and not columns.get("predictions"):
            raise RowError("no_label", "nobody has labelled this task: it holds no annotations and no predictions")
        for name, by in ((of_people, source), ("predictions", "ai")):
            for said in expect_list(columns, name) if columns.get(name) else ():
                who = said.get("completed_by") if name == of_people and isinstance(said, dict) else None
                model = said.get("model_version") if name == "predictions" and isinstance(said, dict) else None
                yield from self._answers(task, said, where, by, _annotator(who) or _text(model))

    def _answers(self, task: "_Task", said: Any, where: str, source: Any, who: str | None) -> Iterator[Found]:
        if not isinstance(said, dict) or not isinstance(said.get("result"), list):
            yield broken(where, RowError("unknown_format", "an annotation is an object with a list of results"))
            return
        if said.get("was_cancelled") or said.get("skipped"):
            yield broken(where, RowError("not_submitted", "the annotator skipped the task"))
            return
        if not said["result"]:
            yield broken(where, RowError("no_label", "the annotation holds no result"))
        for result in said["result"]:
            yield self._answer(task, result, where, source, who, said.get("score"))

    def _answer(
        self, task: "_Task", result: Any, where: str, source: Source, who: str | None, score: object = None
    ) -> Found:
        try:
            kind, label = task.label(result, score if source == "ai" else None)
            return Feedback.model_validate(
                {**task.envelope, "kind": kind, "label": label, "source": source, "annotator": who, "where": where}
            )
        except RowError as error:
            return broken(where, error)
        except ValueError as error:
            return broken(where, error)

    def _from_flat(self, columns: Columns, where: str, source: Source) -> Iterator[Found]:
        """Read a row of the JSON-MIN export: the data's fields, and beside them the answers by their questions."""
        answers = {name: _values(value) for name, value in columns.items()}
        questions = [name for name, values in answers.items() if values]
        if not questions:
            raise RowError("no_label", "no field holds the result of a pairwise, ranker or rating tag")
        data = {name: value for name, value in columns.items() if name not in questions}
        task, who = _Task(data, self), _annotator(columns.get("annotator"))
        for name in questions:
            for value in answers[name]:
                [tag] = _TAGS.keys() & value.keys()
                result = {"from_name": name, "to_name": name, "type": _TAGS[tag], "value": value}
                yield self._answer(task, result, where, source, who)


class _Task:
    """A task's prompt and responses, and what results say of them."""

    def __init__(self, data: Columns, form: LabelStudioFormat) -> None:
        self._stars = form.stars
        lists = [value for value in data.values() if _is_listed(value)]
        fields = form.responses or tuple(
            name
            for name, value in data.items()
            if name.startswith(RESPONSES) and not name.endswith("_model") and isinstance(value, str)
        )
        missing = [name for name in fields if not isinstance(data.get(name), str)]
        if missing:
            raise RowError("no_responses", f"the data has no text {missing[0]!r}; it has {', '.join(data)[:200]}")
        if fields:
            self.names = list(fields)
            texts = [data[name] for name in fields]
        elif lists:
            self.names = [str(item["id"]) for item in lists[0]]
            texts = []
            for item in lists[0]:
                texts.append(next((item[name] for name in _BODIES if item.get(name)), None))
        else:
            raise RowError("no_responses", f"the data has {', '.join(data)[:200]}; name the responses' fields")
        # The Ranker's list may stand beside the texts, under ids of its own.
        self.ids = [str(item["id"]) for item in lists[0]] if lists else self.names
        self.envelope = {
            "prompt": {"messages": _prompt(data, form), "id": _text(data.get("prompt_id"))},
            "responses": [
                {"text": text, "model": _text(data.get(f"{name}_model")) or GIVEN}
                for name, text in zip(self.names, texts, strict=True)
            ],
        }

    def label(self, result: Any, score: object) -> tuple[str, Columns]:
        """Return the kind and the label of one result. Raises `RowError`."""
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            raise RowError("unknown_format", "a result is an object with a value")
        match result.get("type"):
            case "pairwise":
                choice = _SIDES.get(str(value.get("selected")))
                if choice is None:
                    raise RowError("bad_choice", f"selected is {value.get('selected')!r:.40}; expected left or right")
                return "comparison", {"choice": choice, "probability": _probability(choice, score)}
            case "ranker":
                return "ranking", {"ranks": self._ranks(value.get("ranker"))}
            case "rating":
                scale = Scale(min=1, max=self._stars)
                return "rating", {"value": value.get("rating"), "scale": scale, "response": self._place(result)}
        raise RowError(
            "unknown_question", f"a result of the type {result.get('type')!r:.40}; expected pairwise, ranker or rating"
        )

    def _ranks(self, buckets: object) -> tuple[int, ...]:
        """Return ranks by response. Ids that stand in no bucket are ranked by none, and end the reading of the row."""
        lists = list(buckets.values()) if isinstance(buckets, dict) else [buckets]
        order = [str(name) for ids in lists if isinstance(ids, list) for name in ids]
        if sorted(order) != sorted(self.ids):
            raise RowError("bad_ranks", f"the ranking has {', '.join(order)[:80]} of {', '.join(self.ids)[:80]}")
        return tuple(order.index(name) + 1 for name in self.ids)

    def _place(self, result: Columns) -> int:
        named = str(result.get("to_name"))
        if named in self.names:
            return self.names.index(named)
        number = _NUMBER.search(str(result.get("from_name"))) or _NUMBER.search(named)
        if number is not None and 1 <= int(number[1]) <= len(self.names):
            return int(number[1]) - 1
        if len(self.names) == 1:
            return 0
        raise RowError("unknown_response", f"nothing says which response the rating {named[:40]!r} is of")


def _prompt(data: Columns, form: LabelStudioFormat) -> object:
    name = form.prompt or next((name for name in PROMPTS if data.get(name) is not None), None)
    if name is None or data.get(name) is None:
        raise RowError("no_prompt", f"the data has {', '.join(data)[:200]}; name the prompt's field")
    return prompt_messages({"messages" if isinstance(data[name], list) else "prompt": data[name]})


def _is_listed(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and "id" in one for one in value)


def _values(value: object) -> list[Columns]:
    """Return the results that a field of JSON-MIN holds: none for a field of the data."""
    values: list[Any] = value if isinstance(value, list) else [value]
    are = bool(values) and all(isinstance(one, dict) and len(_TAGS.keys() & one.keys()) == 1 for one in values)
    return values if are else []


def _annotator(who: object) -> str | None:
    """Return a person's e-mail address, or else id."""
    return _text(who.get("email") or who.get("id")) if isinstance(who, dict) else _text(who)


def _text(value: object) -> str | None:
    return None if value in (None, "") else str(value)


def _probability(choice: str, score: object) -> float | None:
    """Return the probability that the first is better, from a prediction's score of its choice."""
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0.5 < score <= 1:
        return None
    return float(score) if choice == "first" else 1 - score


def _names(count: int) -> list[str]:
    return [f"response_{number}" for number in range(1, count + 1)]


def _task(number: int, feedback: Feedback) -> Columns:
    messages = [message.model_dump() for message in feedback.prompt.messages]
    names = _names(len(feedback.responses))
    texts = {name: response.text for name, response in zip(names, feedback.responses, strict=True)}
    models = {f"{name}_model": response.model for name, response in zip(names, feedback.responses, strict=True)}
    shown_prompt = "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)
    return {
        "id": number,
        "data": {
            "prompt": messages,
            "shown_prompt": shown_prompt,
            "prompt_id": feedback.prompt.id,
            **texts,
            "items": [{"id": name, "title": name, "body": text} for name, text in texts.items()],
            **models,
        },
        "annotations": [],
        "predictions": [],
    }


def _region(question: str, about: str, kind: str, value: Columns) -> Columns:
    return {"id": question, "from_name": question, "to_name": about, "type": kind, "value": value}


def _said(feedback: Feedback, result: Columns) -> Columns:
    if feedback.source == "human":
        who = {} if feedback.annotator is None else {"completed_by": {"email": feedback.annotator}}
        return {"result": [result], "was_cancelled": False, **who}
    label = feedback.label
    probability = label.probability if isinstance(label, ComparisonLabel) else None
    score = None if probability is None else max(probability, 1 - probability)
    return {"result": [result], "model_version": feedback.annotator, "score": score}


def _count_lost(feedback: Feedback, lost: Counter[str]) -> None:
    label = feedback.label
    count_beside(feedback, lost)
    for name in ("where", "group", "constitution", "constitution_hash", "principle"):
        lost[name] += bool(getattr(feedback, name))
    lost["tags"] += bool(feedback.prompt.tags)
    lost["finish"] += any(response.finish != "given" for response in feedback.responses)
    match label:
        case ComparisonLabel():
            lost["votes"] += bool(label.votes)
            lost["strength"] += label.strength is not None
            lost["probability"] += label.probability is not None and feedback.source == "human"
        case RankingLabel():
            lost["strengths"] += label.strengths is not None
        case RatingLabel():
            lost["scale"] += bool(label.scale.min_means or label.scale.max_means)
        case _:
            pass

"""Label Studio's exports as it writes them, in our own words: pairwise, ranker and rating; JSON and JSON-MIN."""

import json
from pathlib import Path
from typing import Any

from critic.feedback import ComparisonLabel, Feedback, RankingLabel, RatingLabel
from critic.files.sources import Broken
from service.formats import format_of
from service.formats.base import Found
from tests.feedback_samples import feedback

DATA = {"prompt": "Name a river.", "response_1": "The Nile.", "response_2": "The Po."}


def result(kind: str, value: dict[str, Any], name: str = "q", about: str = "q") -> dict[str, Any]:
    return {"id": "x", "from_name": name, "to_name": about, "type": kind, "value": value, "origin": "manual"}


def annotated(*results: dict[str, Any], data: Any = DATA, **more: Any) -> dict[str, Any]:
    said = {"id": 7, "completed_by": {"id": 3, "email": "ann@site.org"}, "result": list(results), **more}
    return {"id": 1, "data": data, "annotations": [said], "predictions": []}


def read(folder: Path, *tasks: dict[str, Any], **options: Any) -> list[Found]:
    file = folder / "project.json"
    file.write_text(json.dumps(tasks))
    return list(format_of("label-studio", options).read(file))


def test_pairwise(tmp_path: Path) -> None:
    left, right = read(
        tmp_path,
        annotated(result("pairwise", {"selected": "left"})),
        annotated(result("pairwise", {"selected": "right"})) | {"id": 2},
    )
    assert isinstance(left, Feedback) and isinstance(right, Feedback)
    assert (left.annotator, left.source, left.prompt.messages[0].content) == ("ann@site.org", "human", "Name a river.")
    assert [response.text for response in left.responses] == ["The Nile.", "The Po."]
    assert isinstance(left.label, ComparisonLabel) and left.label.choice == "first"
    assert isinstance(right.label, ComparisonLabel) and right.label.choice == "second"


def test_a_ranking_of_a_list(tmp_path: Path) -> None:
    items = [{"id": f"a{i}", "title": "", "body": text} for i, text in enumerate(("A lamp.", "The Po.", "The Nile."))]
    data = {"prompt": "Name a river.", "items": items}
    good, short = read(
        tmp_path,
        annotated(result("ranker", {"ranker": {"rank": ["a2", "a1", "a0"]}}), data=data),
        annotated(result("ranker", {"ranker": {"rank": ["a2"]}}), data=data),
    )
    assert isinstance(good, Feedback) and isinstance(good.label, RankingLabel)
    assert [response.text for response in good.responses] == ["A lamp.", "The Po.", "The Nile."]
    assert good.label.ranks == (3, 2, 1)
    assert isinstance(short, Broken) and short.reason == "bad_ranks"


def test_ratings_name_their_response(tmp_path: Path) -> None:
    labels = read(
        tmp_path,
        annotated(
            result("rating", {"rating": 4}, "stars", "response_2"),
            result("rating", {"rating": 1}, "rating_1", "text1"),
            result("rating", {"rating": 3}, "stars", "text"),
            result("rating", {"rating": 9}, "stars", "response_1"),
        ),
    )
    second, first, nobody, over = labels
    assert isinstance(second, Feedback) and isinstance(second.label, RatingLabel)
    assert (second.label.value, second.label.response, second.label.scale.max) == (4, 1, 5)
    assert isinstance(first, Feedback) and isinstance(first.label, RatingLabel) and first.label.response == 0
    assert isinstance(nobody, Broken) and nobody.reason == "unknown_response"
    assert isinstance(over, Broken) and "off its scale" in over.detail


def test_predictions_are_a_models(tmp_path: Path) -> None:
    said = {"model_version": "judge-1", "score": 0.75, "result": [result("pairwise", {"selected": "right"})]}
    (label,) = read(tmp_path, {"id": 1, "data": DATA, "annotations": [], "predictions": [said]})
    assert isinstance(label, Feedback) and isinstance(label.label, ComparisonLabel)
    assert (label.source, label.annotator, label.label.probability) == ("ai", "judge-1", 0.25)


def test_json_min(tmp_path: Path) -> None:
    (label,) = read(tmp_path, {"id": 1, **DATA, "annotator": 3, "annotation_id": 7, "pw": [{"selected": "left"}]})
    assert isinstance(label, Feedback) and label.annotator == "3"
    assert isinstance(label.label, ComparisonLabel) and label.label.choice == "first"


def test_other_names_of_fields(tmp_path: Path) -> None:
    data = {"q": "Name a river.", "one": "The Nile.", "two": "The Po."}
    task = annotated(result("pairwise", {"selected": "left"}), data=data)
    (label,) = read(tmp_path, task, prompt="q", responses=["one", "two"])
    assert isinstance(label, Feedback) and label.responses[0].text == "The Nile."
    (unnamed,) = read(tmp_path, task)
    assert isinstance(unnamed, Broken) and unnamed.reason == "no_responses" and "q, one, two" in unnamed.detail


def test_what_is_no_label_is_named(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        annotated(result("pairwise", {"selected": "left"}), was_cancelled=True),
        annotated(result("choices", {"choices": ["good"]})),
        annotated(),
        annotated(result("pairwise", {"selected": "both"})),
        {"id": 5, "data": {"response_1": "a", "response_2": "b"}, "annotations": []},
        {"id": 6, **DATA},
    )
    reasons = [row.reason if isinstance(row, Broken) else row for row in rows]
    assert reasons == ["not_submitted", "unknown_question", "no_label", "bad_choice", "no_prompt", "no_label"]


def test_what_is_written_comes_back_and_ties_are_counted(tmp_path: Path) -> None:
    labels = [
        feedback("comparison", {"choice": "second"}, annotator="ann@site.org"),
        feedback("comparison", {"choice": "first", "probability": 0.75}, source="ai", annotator="judge-1"),
        feedback("comparison", {"choice": "tie"}),
        feedback("ranking", {"ranks": [2, 1, 3]}, texts=["The Nile.", "The Po.", "A lamp."]),
        feedback("rating", {"value": 4, "scale": {"min": 1, "max": 5}, "response": 1}),
        feedback("thumbs", {"value": "up"}),
    ]
    file = tmp_path / "tasks.json"
    lost = format_of("label-studio").write("feedback", labels, file)
    assert lost == {"skipped_comparison": 1, "skipped_thumbs": 1}
    assert len(json.loads(file.read_text())) == 2, "one task for all labels of the same responses"
    # A row that was refused has no such method, and fails the test.
    back = [label.model_copy(update={"where": ""}) for label in format_of("label-studio").read(file)]  # type: ignore[union-attr]  # none is broken
    assert sorted(map(repr, back)) == sorted(map(repr, (labels[0], labels[1], labels[3], labels[4])))


def test_tasks_of_before_version_1_are_read_and_those_that_nobody_labelled_are_named(tmp_path: Path) -> None:
    task = annotated(result("pairwise", {"selected": "right"}))
    old, nobody = read(tmp_path, task | {"completions": task.pop("annotations")}, {"id": 2, "data": DATA})
    assert isinstance(old, Feedback) and isinstance(old.label, ComparisonLabel) and old.label.choice == "second"
    assert isinstance(nobody, Broken) and nobody.reason == "no_label" and "nobody has labelled" in nobody.detail

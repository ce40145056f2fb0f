"""Argilla's records and annotated pairs: several annotators of one item share a record."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given

from base.errors import InputError
from critic.feedback import ComparisonLabel, Feedback, RankingLabel, RatingLabel, ThumbsLabel
from critic.files.sources import Broken
from service.formats import format_of
from service.formats.base import Found
from tests.feedback_samples import feedback, feedbacks

ANN, BOB = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def through(name: str, labels: list[Feedback]) -> tuple[list[Found], Any, Any]:
    with TemporaryDirectory() as folder:
        path = Path(folder, "file.json")
        lost = format_of(name).write("feedback", labels, path)
        return list(format_of(name).read(path)), lost, json.loads(path.read_text("utf-8"))


def read(name: str, value: object, tmp_path: Path, **options: Any) -> list[Found]:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(value), "utf-8")
    return list(format_of(name, options).read(path))


def _plain(label: Feedback, /, **fields: Any) -> Feedback:
    """The label without what every record loses."""
    responses = tuple(response.model_copy(update={"finish": "given"}) for response in label.responses)
    prompt = label.prompt.model_copy(update={"tags": (), "id": label.prompt.id or "an id"})
    beside = {"where": "", "seconds": None, "flag": None}
    return label.model_copy(update={**beside, "responses": responses, "prompt": prompt, **fields})


@given(feedbacks(["comparison"]))
def test_a_comparison_comes_back_from_annotated_pairs(label: Feedback) -> None:
    assert isinstance(label.label, ComparisonLabel)
    kept = _plain(label, label=label.label.model_copy(update={"votes": ()}))
    (back,), lost, _ = through("annotated-pairs", [kept])
    assert isinstance(back, Feedback), back
    assert back.model_copy(update={"where": ""}) == kept
    assert not lost


@given(feedbacks(["comparison", "ranking", "thumbs", "demonstration", "rating"]))
def test_a_label_comes_back_from_argilla(label: Feedback) -> None:
    kept = _plain(label, annotator=ANN if label.source == "human" else "judge")
    labels, lost, _ = through("argilla", [kept])
    if any(reason.startswith("skipped") for reason in lost):
        assert labels == []
        partial = isinstance(kept.label, RankingLabel) and None in kept.label.ranks
        assert partial or kept.kind in ("comparison", "rating")
        return
    (back,) = labels
    assert isinstance(back, Feedback), back
    assert _heart(back) == _heart(kept)
    assert _envelope(back) == _envelope(kept)


def _heart(feedback: Feedback) -> object:
    match feedback.label:
        case ComparisonLabel(choice=choice):
            return choice
        case RankingLabel(ranks=ranks):
            return ranks
        case RatingLabel() as rating:
            return rating.value, rating.scale.min, rating.scale.max, rating.response
        case other:
            return other


def _envelope(feedback: Feedback) -> object:
    return feedback.model_dump(exclude={"label", "where"})


def test_annotated_pairs_are_one_comparison_a_pair(tmp_path: Path) -> None:
    labels = [
        feedback("comparison", {"choice": "first"}, annotator="ann"),
        feedback("comparison", {"choice": "first"}, ("The Po.", "The Nile."), annotator="bob"),
        feedback("comparison", {"choice": "tie"}, annotator="ann"),
        feedback("thumbs", {"value": "up"}),
    ]
    read_back, lost, whole = through("annotated-pairs", labels)
    assert lost == {"skipped_second_label": 1, "skipped_thumbs": 1}
    (pair,) = whole["comparisons"]
    assert sorted(annotation["pref"] for annotation in pair["annotations"].values()) == ["a", "b"]
    assert {annotator["name"] for annotator in whole["annotators"].values()} == {"ann", "bob"}
    turned = [(label.annotator, label.label.choice) for label in read_back if isinstance(label, Feedback)]  # type: ignore[attr-defined]  # a comparison
    assert turned == [("ann", "first"), ("bob", "second")]


def foreign(pref: str | None, **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"version": "2.0", "default_annotator": "h"},
        "annotators": {
            "h": {"name": "preferred_text", "description": "From the original", "type": "human"},
            "p": {"description": "Prefer the shorter response", "type": "principle"},
        },
        "comparisons": [
            {
                "id": "1",
                "prompt": "Name a river.",
                "response_a": {"text": "The Nile.", "model": "m"},
                "response_b": {"text": "The Po."},
                "annotations": {"h": {"pref": pref, **fields}, "p": {"pref": "b"}},
            }
        ],
    }


def test_annotated_pairs_of_their_own_project(tmp_path: Path) -> None:
    person, principle = read("annotated-pairs", foreign("a"), tmp_path)
    assert isinstance(person, Feedback) and isinstance(principle, Feedback)
    assert (person.source, person.annotator, person.label.choice) == ("human", "preferred_text", "first")  # type: ignore[attr-defined]  # a comparison
    assert (principle.source, principle.annotator) == ("ai", "Prefer the shorter response")
    assert [response.model for response in person.responses] == ["m", "given"]


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [("invalid", "unreadable"), ("not_applicable", "no_principle"), ("tie", "tie")],
)
def test_reasons_for_no_preference(reason: str, outcome: str, tmp_path: Path) -> None:
    label = read("annotated-pairs", foreign(None, no_pref_reason=reason), tmp_path)[0]
    assert isinstance(label, Feedback) and isinstance(label.label, ComparisonLabel)
    assert label.label.outcome == outcome


def test_an_unknown_preference_is_named(tmp_path: Path) -> None:
    for bad in (foreign("both"), foreign(None)):
        broken, good = read("annotated-pairs", bad, tmp_path)
        assert isinstance(broken, Broken) and broken.reason == "bad_choice"
        assert isinstance(good, Feedback)


def test_another_version_is_refused(tmp_path: Path) -> None:
    (broken,) = read("annotated-pairs", foreign("a") | {"metadata": {"version": "1.0"}}, tmp_path)
    assert isinstance(broken, Broken) and "expected 2.0" in broken.detail


def record(responses: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "fields": {"instruction": "Name a river.", "response1": "The Nile.", "response2": "The Po."},
        "metadata": {},
        "suggestions": {},
        "responses": responses,
        "vectors": {},
        "_server_id": None,
        **fields,
    }


def test_argilla_has_several_annotators_a_record(tmp_path: Path) -> None:
    ranked = [{"value": "response2", "rank": 1}, {"value": "response1", "rank": 2}]
    answers = {
        "ranking": [{"value": ranked, "user_id": ANN}, {"value": ["response1", "response2"], "user_id": BOB}],
        "rating_2": [{"value": 4, "user_id": ANN}],
    }
    suggestion = {"preference": {"value": "response1", "score": 0.75, "agent": "judge"}}
    first, second, rating, judged = read("argilla", [record(answers, suggestions=suggestion)], tmp_path)
    assert all(isinstance(label, Feedback) for label in (first, second, rating, judged))
    assert first.label.ranks == (2, 1) and second.label.ranks == (1, 2)  # type: ignore[union-attr]
    assert (first.annotator, second.annotator) == (ANN, BOB)  # type: ignore[union-attr]
    assert (rating.label.value, rating.label.response, rating.label.scale.max) == (4, 1, 5)  # type: ignore[union-attr]
    assert (judged.source, judged.annotator) == ("ai", "judge")  # type: ignore[union-attr]
    assert (judged.label.choice, judged.label.probability) == ("first", 0.75)  # type: ignore[union-attr]


def test_argilla_questions_of_other_names_are_mapped(tmp_path: Path) -> None:
    answers = record({"how_good": [{"value": 9, "user_id": ANN}]})
    (unknown,) = read("argilla", [answers], tmp_path)
    assert isinstance(unknown, Broken) and unknown.reason == "unknown_question" and "how_good" in unknown.detail
    options: dict[str, Any] = {"questions": {"how_good": "rating_2"}, "scale": {"min": 0, "max": 10}}
    (label,) = read("argilla", [answers], tmp_path, **options)
    assert isinstance(label, Feedback) and isinstance(label.label, RatingLabel)
    assert (label.label.value, label.label.response) == (9, 1)


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("rating", {"value": 9}, "bad_label"),
        ("rating_7", {"value": 3}, "bad_row"),
        ("ranking", {"value": ["response1"]}, "bad_ranks"),
        ("ranking", {"value": ["response1", "response3"]}, "bad_ranks"),
        ("preference", {"value": "neither"}, "bad_label"),
        ("critique", {"value": ""}, "bad_label"),
        ("thumbs", {"value": "up", "status": "discarded"}, "not_submitted"),
    ],
)
def test_argilla_answers_that_cant_be_used(question: str, answer: dict[str, Any], reason: str, tmp_path: Path) -> None:
    answers = {question: [answer | {"user_id": ANN}], "thumbs": [{"value": "down", "user_id": BOB}]}
    if question == "thumbs":
        answers = {question: [answer | {"user_id": ANN}, *answers["thumbs"]]}
    broken, good = read("argilla", [record(answers)], tmp_path)
    assert isinstance(broken, Broken) and broken.reason == reason, broken
    assert isinstance(good, Feedback) and isinstance(good.label, ThumbsLabel)


def test_argilla_records_hold_all_kinds_of_one_item() -> None:
    labels = [
        feedback("comparison", {"choice": "first"}, annotator=ANN),
        feedback("comparison", {"choice": "first"}, ("The Po.", "The Nile."), annotator=BOB),
        feedback("comparison", {"choice": "second", "probability": 0.25}, source="ai", annotator="judge"),
        feedback("comparison", {"choice": "tie"}, source="ai", annotator="other"),
        feedback("critique", {"text": "Short."}, annotator="ann"),
        feedback("correction", {"text": "The river Po.", "response": 1}, annotator=ANN),
        feedback("rating", {"value": 3.5, "scale": {"min": 1, "max": 5}}, annotator=ANN),
    ]
    read_back, lost, (made,) = through("argilla", labels)
    assert lost == {"skipped_second_suggestion": 1, "annotator": 1, "skipped_rating": 1}
    assert [answer["value"] for answer in made["responses"]["preference"]] == ["first", "second"]
    assert made["suggestions"]["preference"] == {"value": "second", "score": 0.75, "agent": "judge"}
    assert made["responses"]["correction_2"][0]["value"] == "The river Po."
    assert len(read_back) == 5 and all(isinstance(label, Feedback) for label in read_back)


def test_groups_have_records_of_their_own() -> None:
    labels = [feedback("comparison", {"choice": "first"}, group=group, annotator=ANN) for group in ("north", "south")]
    read_back, _, made = through("argilla", labels)
    assert [one["metadata"]["group"] for one in made] == ["north", "south"]
    assert [label.group for label in read_back if isinstance(label, Feedback)] == ["north", "south"]


def test_a_file_that_isnt_json(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text("[{]")
    with pytest.raises(InputError, match="not JSON"):
        format_of("argilla").read(tmp_path / "file.json")

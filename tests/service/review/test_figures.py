"""Figures of a project for those who run it, by hand."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.bounds.kept import KEPT, Kept
from service.labels.agreement import Rater, units
from service.labels.label_query import StoredFeedback
from service.review.agreement.contested import MostContested
from service.review.agreement.judges import Groups, Judges
from service.review.agreement.pace import PaceCounter
from tests.service.calls import Api, comparison, problem

MONDAY = datetime(2026, 11, 2, 9, tzinfo=UTC)


def said(value: Any, annotator: str, *, prompt: str = "A?", kind: str = "comparison", **more: Any) -> StoredFeedback:
    """One label as it is stored."""
    return StoredFeedback.model_validate(
        {
            "id": f"{annotator} on {prompt}",
            "kind": kind,
            "prompt": {"messages": [{"role": "user", "content": prompt}]},
            "responses": [{"text": "one", "model": "m"}, {"text": "two", "model": "m"}],
            "label": {"choice": value} if kind == "comparison" else value,
            "source": "human",
            "annotator": annotator,
            "created_at": MONDAY,
        }
        | more
    )


def judged(value: str, prompt: str = "A?") -> StoredFeedback:
    return said(value, "judge", prompt=prompt, source="ai")


def test_a_judge_stands_beside_people_on_the_same_items_only() -> None:
    judges = Judges()
    # A: people agree, the judge with them. B: people differ, the judge sides with one. C: one person only. D: no judge.
    for item in (
        [said("first", "ada"), said("first", "bo"), judged("first")],
        [said("first", "ada", prompt="B?"), said("second", "bo", prompt="B?"), judged("second", "B?")],
        [said("first", "ada", prompt="C?"), judged("second", "C?")],
        [said("first", "ada", prompt="D?"), said("second", "bo", prompt="D?")],
    ):
        judges.add(list(units(item)), {})
    [figures] = judges.figures()
    assert (figures.judge, figures.units) == ("judge", 2)
    assert figures.with_people is not None and figures.among_people is not None
    assert (figures.with_people.estimate, figures.with_people.n) == (3 / 4, 4)
    assert (figures.among_people.estimate, figures.among_people.n) == (1 / 2, 2)
    # Judge against each person: 1-1, 1-1, 2-1, 2-2. Observed 3/4, by chance (2*3 + 2*1) / 16 = 1/2.
    assert figures.kappa is not None and figures.alpha is not None
    assert figures.kappa.estimate == pytest.approx((3 / 4 - 1 / 2) / (1 - 1 / 2))
    assert (figures.kappa.low, figures.kappa.high, figures.kappa.clusters) == (
        -1,
        1,
        2,
    )  # of two items nothing is known
    # Coincidences of 11 and 12: totals 3 and 1; expected 2 * 3 * 1 / 3 = 2, observed 2.
    assert figures.alpha.estimate == pytest.approx(1 - 3 * 2 / (2 * 3 * 1))


def test_groups_are_kept_apart() -> None:
    groups = Groups()
    labels = [said("first", "ada"), said("first", "bo"), said("second", "cy"), said("second", "di")]
    of = {"ada": "nurses", "bo": "nurses", "cy": "cooks", "di": None}
    groups.add(list(units(labels)), {Rater("human", name): group for name, group in of.items()})
    by_pair = {(pair.first, pair.second): pair.agreement for pair in groups.figures()}
    shares = {names: (share.estimate, share.n) for names, share in by_pair.items() if share is not None}
    assert shares == {
        ("nurses", "nurses"): (1.0, 1),
        ("cooks", "nurses"): (0.0, 2),
        (None, "cooks"): (1.0, 1),
        (None, "nurses"): (0.0, 2),
    }


def test_the_items_that_people_disagree_on_most_come_first() -> None:
    contested = MostContested()
    scale = {"min": 1, "max": 5}

    def rated(prompt: str, *values: float) -> list[StoredFeedback]:
        return [
            said({"value": value, "scale": scale, "response": 0}, f"p{place}", prompt=prompt, kind="rating")
            for place, value in enumerate(values)
        ]

    for labels in (rated("equal", 3, 3), rated("far", 1, 5), rated("near", 2, 3, 2), rated("alone", 1)):
        contested.add(labels, list(units(labels)))
    assert [(one.prompt, one.disagreement, one.labels) for one in contested.figures()] == [
        ("far", 1.0, 2),
        ("near", pytest.approx(1 / 6), 3),  # of its three pairs two are one of four apart
        ("equal", 0.0, 2),
    ]
    assert contested.items == 3


def test_a_judge_stands_beside_each_group_apart() -> None:
    judges = Judges()
    for prompt in ("A?", "B?"):
        item = [said("first", name, prompt=prompt) for name in ("ada", "bo")]
        item += [said("second", name, prompt=prompt) for name in ("cy", "di")] + [judged("first", prompt)]
        groups = {Rater("human", name): "north" for name in ("ada", "bo")}
        judges.add(list(units(item)), groups | {Rater("human", name): "south" for name in ("cy", "di")})
    north, south = judges.figures()
    assert (north.group, south.group) == ("north", "south") and north.units == south.units == 2
    assert north.with_people is not None and south.with_people is not None and north.among_people is not None
    assert (north.with_people.estimate, south.with_people.estimate, north.among_people.estimate) == (1, 0, 1)


def test_a_label_of_a_judge_is_no_disagreement_of_people() -> None:
    contested = MostContested()
    labels = [said("first", "ada"), said("first", "bo"), judged("second")]
    contested.add(labels, list(units(labels)))
    assert [one.disagreement for one in contested.figures()] == [0.0]


def test_groups_that_agree_within_and_differ_between_are_told_apart_from_people_who_differ() -> None:
    contested = MostContested()
    opposed = [said("first", name, prompt="A?", group="north") for name in ("ada", "bo")]
    opposed += [said("second", "cy", prompt="A?", group="south"), said("first", "di", prompt="A?")]
    within = [said(side, name, prompt="B?", group="north") for side, name in (("first", "ada"), ("second", "bo"))]
    for labels in (opposed, within):
        contested.add(labels, list(units(labels)))
    second, first = contested.figures()
    assert first.disagreement == pytest.approx(3 / 6) and second.disagreement == 1.0
    assert [(one.group, one.disagreement, one.labels) for one in first.groups] == [
        (None, None, 1),
        ("north", 0.0, 2),
        ("south", None, 1),
    ]
    assert [(one.group, one.disagreement, one.labels) for one in second.groups] == [("north", 1.0, 2)]


def session(annotator: str, minutes: Sequence[float]) -> list[StoredFeedback]:
    return [
        said("first", annotator, prompt=f"{number}?", created_at=MONDAY + timedelta(minutes=minute))
        for number, minute in enumerate(minutes)
    ]


def test_a_break_begins_a_session_and_stages_are_of_places_in_it() -> None:
    labels = session("ada", [*range(30), 100, 101])
    seconds = {label.id: 10.0 if place < 25 else 40.0 for place, label in enumerate(labels)}
    paces = PaceCounter(seconds)
    for place, label in enumerate(labels):
        other = said("first" if place < 25 else "second", "bo", prompt=f"{place}?")
        paces.add([label, other], list(units([label, other])))
    [ada, bo] = paces.figures()
    assert (ada.annotator, ada.labels, ada.sessions, ada.seconds) == ("ada", 32, 2, 10.0)
    early, late = ada.stages
    assert (early.first, early.last, early.labels) == (1, 25, 27)  # 25 of the first session, and the second's two
    assert (late.first, late.last, late.labels) == (26, 50, 5)
    assert early.seconds is not None and late.seconds is not None and late.agreement is not None
    assert early.seconds.estimate == pytest.approx((25 * 10 + 2 * 40) / 27)
    assert late.seconds.estimate == 40.0 and late.agreement.estimate == 0.0
    assert bo.seconds is None and bo.stages[0].seconds is None


def test_what_is_kept_is_of_the_state_that_is_asked_for() -> None:
    kept: Kept[str] = Kept()
    kept.put("a", (1, 2), "old")
    assert kept.get("a", (1, 2)) == "old" and kept.get("a", (1, 3)) is None and kept.get("b", (1, 2)) is None
    for number in range(KEPT):
        assert kept.get("a", (1, 2)) == "old"  # whoever is asked for stays
        kept.put(f"other {number}", (0,), "")
    assert kept.get("other 0", (0,)) is None and kept.get("a", (1, 2)) == "old"


async def labelled(api: Api) -> tuple[str, list[str]]:
    """Ada and Bo label three comparisons: they agree on A and B, and differ on C. Returns project and items."""
    ada, bo = await api.labeller("Ada", "nurses"), await api.labeller("Bo", "cooks")
    items = [{"prompt": prompt, "responses": ["one", "two"]} for prompt in ("A?", "B?", "C?")]
    asked = {"name": "p", "kind": "comparison", "items": items, "labels_per_item": 2}
    id = str((await api.admin.post("/v1/projects", json=asked)).json()["id"])
    for person, wanted in (
        (ada, {"A?": "one", "B?": "one", "C?": "one"}),
        (bo, {"A?": "one", "B?": "one", "C?": "two"}),
    ):
        for _ in items:
            task = (await person.post(f"/v1/projects/{id}/tasks/next")).json()["task"]
            place = task["responses"].index(wanted[task["prompt"][0]["content"]])
            await person.post(f"/v1/tasks/{task['id']}/answer", json={"label": ("first", "second")[place]})
    tasks = (await api.admin.get(f"/v1/projects/{id}/tasks")).json()["items"]
    return id, [task["item"] for task in tasks]


async def test_progress_is_by_annotator_and_pool(api: Api) -> None:
    id, _ = await labelled(api)
    await api.annotator("Cy", "cooks")
    await api.admin.patch(f"/v1/projects/{id}", json={"assigned": ["id-of-ada", "id-of-bo", "id-of-cy"]})
    progress = (await api.admin.get(f"/v1/projects/{id}/progress")).json()
    assert {name: progress[name] for name in ("items", "done", "labels", "wanted", "leased")} == {
        "items": 3,
        "done": 3,
        "labels": 6,
        "wanted": 6,
        "leased": 0,
    }
    assert [(one["name"], one["labels"], one["paused"]) for one in progress["annotators"]] == [
        ("Ada", 3, False),
        ("Bo", 3, False),
        ("Cy", 0, False),
    ]
    assert progress["annotators"][0]["last_at"] is not None and progress["annotators"][2]["last_at"] is None
    assert progress["pools"] == [
        {"group": "cooks", "annotators": 2, "labels": 3, "items": 3},
        {"group": "nurses", "annotators": 1, "labels": 3, "items": 3},
    ]
    problem(await api.admin.get("/v1/projects/none/progress"), 404, "not_found")


async def test_figures_follow_each_label_retraction_and_decision(api: Api) -> None:
    id, items = await labelled(api)
    await api.admin.post(
        "/v1/feedback",
        json=[
            comparison(prompt, "first", responses=["one", "two"], source="ai", annotator="j") for prompt in ("A?", "C?")
        ],
    )
    judge = (await api.admin.get(f"/v1/projects/{id}/judges")).json()
    assert judge["judges"] == [], "a nurse and a cook are of two groups, neither of which has two people"
    assert [one["group"] for one in judge["alphas"]] == ["cooks", "nurses"]
    assert [(pair["first"], pair["second"]) for pair in judge["groups"]] == [("cooks", "nurses")]
    most = (await api.admin.get(f"/v1/projects/{id}/disagreement")).json()
    assert (most["of"], most["items"][0]["prompt"], most["items"][0]["disagreement"]) == (3, "C?", 1.0)
    apart = [(one["group"], one["disagreement"], one["labels"]) for one in most["items"][0]["groups"]]
    assert apart == [("cooks", None, 1), ("nurses", None, 1)]
    assert [one["labels"] for one in (await api.admin.get(f"/v1/projects/{id}/pace")).json()["annotators"]] == [3, 3]
    before = (await api.admin.get(f"/v1/projects/{id}/agreement")).json()["labels"]
    contested = most["items"][0]["item"]
    assert contested in items
    decision = {"item": contested, "label": "second", "reason": "The second is right."}
    assert (await api.admin.post(f"/v1/projects/{id}/adjudications", json=decision)).status_code == 201
    assert (await api.admin.get(f"/v1/projects/{id}/agreement")).json()["labels"] == before  # a decision is no rater
    page = (await api.admin.get("/v1/feedback", params={"item": contested, "annotator": "id-of-bo"})).json()["items"]
    await api.admin.post(f"/v1/feedback/{page[0]['id']}/retract", json={"reason": "too fast"})
    after = (await api.admin.get(f"/v1/projects/{id}/disagreement")).json()
    assert after["of"] == 2 and all(one["disagreement"] == 0 for one in after["items"])

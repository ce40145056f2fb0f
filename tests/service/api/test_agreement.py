"""Agreement figures of a project, by hand. On both databases."""

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update

from base.errors import InputError
from critic.feedback import Feedback, RankingLabel
from critic.records import Message, Prompt, Response
from service.labels.agreement import PAIRS_OF_A_RANKING, VALUES_OF_AN_ITEM, Agreement, Rater, _pair, _pairs
from service.labels.label_query import StoredFeedback
from service.store.tables import feedback, leases, now
from tests.service.calls import Api, comparison

PROMPTS = ("A?", "B?", "C?", "D?")


def stored(row: dict[str, Any], **more: Any) -> StoredFeedback:
    given = Feedback.model_validate(row)
    return StoredFeedback.model_validate({**given.model_dump(), "id": "x", "created_at": now(), **more})


def label(
    value: Any, annotator: str, *, kind: str = "rating", texts: tuple[str, ...] = ("aa", "b"), **more: Any
) -> Any:
    prompt = {"messages": [{"role": "user", "content": more.pop("prompt", "A?")}]}
    responses = [{"text": text, "model": "m"} for text in texts]
    row = {"kind": kind, "prompt": prompt, "responses": responses, "label": value, "source": "human"}
    return stored(row | {"annotator": annotator, "source": more.pop("source", "human")}, **more)


async def projected(api: Api) -> str:
    """Ada prefers 1, 1, 1, 2; Grace 1, 1, 2, 2; and a judge, who saw them the other way round, 1, 2, 1, tie."""
    ada, grace = await api.labeller("Ada", "nurses"), await api.labeller("Grace")
    items = [{"prompt": prompt, "responses": ["one, longer", "two"]} for prompt in PROMPTS]
    asked = {"name": "p", "kind": "comparison", "items": items, "labels_per_item": 2}
    id = str((await api.admin.post("/v1/projects", json=asked)).json()["id"])
    for person, wanted in ((ada, "1112"), (grace, "1122")):
        for _ in PROMPTS:
            task = (await person.post(f"/v1/projects/{id}/tasks/next")).json()["task"]
            text = {"1": "one, longer", "2": "two"}[wanted[PROMPTS.index(task["prompt"][0]["content"])]]
            choice = ("first", "second")[task["responses"].index(text)]
            response = await person.post(f"/v1/tasks/{task['id']}/answer", json={"label": choice})
            assert response.status_code == 201
    judged = [
        comparison(prompt, choice, responses=["two", "one, longer"], source="ai", annotator="judge")
        for prompt, choice in zip(PROMPTS, ("second", "first", "second", "tie"), strict=True)
    ]
    elsewhere = comparison("Elsewhere?", "first", source="ai", annotator="judge")
    await api.admin.post("/v1/feedback", json=[*judged, elsewhere])
    return id


async def test_people_and_judges_side_by_side(api: Api) -> None:
    id = await projected(api)
    async with api.service.database.transaction() as connection:  # Ada took 36 seconds for each of her four labels
        mine, at = leases.c.annotator == "id-of-ada", now()
        await connection.execute(update(leases).where(mine).values(since=at - timedelta(seconds=36), until=at))
    apart = (await api.admin.get(f"/v1/projects/{id}/agreement")).json()
    assert not apart["pooled"] and apart["people"] is apart["everyone"] is apart["by_principle"] is None
    assert {one["group"]: one["people"]["units"] for one in apart["groups"]} == {"nurses": 0, None: 0}, (
        "one person each"
    )
    assert all(rater["agreement"] is None for rater in apart["raters"]), "nobody of the own group to agree with"
    answer = (await api.admin.get(f"/v1/projects/{id}/agreement?pooled=true")).json()
    assert (answer["items"], answer["labels"], answer["kind"]) == (4, 12, "comparison")
    # People agree on A, B and D. Coincidences: 11: 4, 22: 2, 12 and 21: 1 each; totals 5 and 3 of 8.
    assert answer["people"]["agreement"]["estimate"] == 0.75 and answer["people"]["agreement"]["n"] == 4
    assert answer["people"]["alpha"]["nominal"] == pytest.approx(1 - 7 * 2 / (2 * 5 * 3))
    # With the judge: A 3 of 3, B 1 of 3, C 1 of 3, D 1 of 3.
    assert answer["everyone"]["agreement"]["estimate"] == pytest.approx(6 / 12)
    raters = {rater["annotator"]: rater for rater in answer["raters"]}
    assert raters["judge"]["source"] == "ai" and raters["judge"]["labels"] == 4
    assert raters["judge"]["agreement"]["estimate"] == pytest.approx(3 / 8)  # A twice, C once
    assert raters["judge"]["first_lean"]["estimate"] == pytest.approx(1 / 3)  # of what it was given first
    assert raters["id-of-ada"]["longer_lean"]["estimate"] == 0.75
    assert raters["id-of-grace"]["longer_lean"]["estimate"] == 0.5
    assert raters["id-of-ada"]["group"] == "nurses"
    assert raters["id-of-ada"]["labels_per_hour"] == pytest.approx(100, rel=1e-3)
    assert raters["judge"]["labels_per_hour"] is None
    pair = next(pair for pair in answer["pairs"] if "judge" not in (pair["first"], pair["second"]))
    # Margins 3:1 and 2:2: chance .75 * .5 + .25 * .5 = .5.
    assert (pair["units"], pair["agreement"], pair["kappa"]) == (4, 0.75, pytest.approx(0.5))


async def test_retracted_labels_do_not_count_and_nothing_is_no_number(api: Api) -> None:
    id = await projected(api)
    for row in (await api.admin.get("/v1/feedback")).json()["items"]:
        await api.admin.post(f"/v1/feedback/{row['id']}/retract", json={"reason": "all wrong"})
    answer = (await api.admin.get(f"/v1/projects/{id}/agreement")).json()
    assert (answer["items"], answer["labels"], answer["raters"], answer["pairs"]) == (0, 0, [], [])
    assert answer["people"] == {"units": 0, "agreement": None, "alpha": {"nominal": None, "ordinal": None}}


def test_first_lean_is_of_the_page_and_not_of_the_item() -> None:
    counted = Agreement(
        [
            _compared("first", (1, 0), "A?"),
            _compared("second", (1, 0), "B?"),
            _compared("first", (0, 1), "C?"),
        ]
    )
    rated = counted.raters[Rater("human", "ada")].first_lean.figure()
    assert rated is not None and rated.estimate == pytest.approx(2 / 3)


def _compared(choice: str, shown: tuple[int, int], prompt: str) -> StoredFeedback:
    value = {"choice": choice, "outcome": "preference"}
    return label(value, "ada", kind="comparison", shown=shown, prompt=prompt)  # type: ignore[no-any-return]


def test_ratings_agree_by_response_and_distance() -> None:
    scale = {"min": 1, "max": 5}
    rows = [
        label({"value": 1, "scale": scale, "response": 0}, "ada"),
        label({"value": 5, "scale": scale, "response": 1}, "ada"),
        label({"value": 2, "scale": scale, "response": 1}, "grace", texts=("b", "aa")),  # "aa", elsewhere on the page
        label({"value": 5, "scale": scale, "response": 0}, "grace", texts=("b", "aa")),
        label({"value": 9, "scale": {"min": 1, "max": 10}, "response": 0}, "mary"),  # another scale: no unit in common
    ]
    counted = Agreement(rows)
    assert counted.pooled.people.coincidences.units == 2
    agreement = counted.pooled.people.agreement.figure()
    assert agreement is not None and agreement.estimate == 0.5
    # Values 1, 2, 5, 5: observed 2 * 1; expected (2*1 + 2*2*16 + 2*2*9) / 3 = 34.
    assert counted.pooled.people.coincidences.alpha("interval") == pytest.approx(1 - 2 / 34)


def test_rankings_agree_by_pairs_of_responses() -> None:
    def ranked(ranks: list[int], annotator: str) -> Any:
        return label({"ranks": ranks}, annotator, kind="ranking", texts=("a", "b", "c"))

    counted = Agreement([ranked([1, 2, 3], "ada"), ranked([1, 3, 2], "grace"), ranked([1, 2, 2], "mary")])
    pair = counted.pairs[Rater("human", "ada"), Rater("human", "grace")]
    assert pair.units == 3 and pair.agreement == pytest.approx(2 / 3)
    tied = counted.pairs[Rater("human", "ada"), Rater("human", "mary")]
    assert tied.agreement == pytest.approx(2 / 3)


def test_who_labels_twice_is_counted_by_the_last_label() -> None:
    rows = [
        label({"value": value}, who, kind="thumbs") for value, who in (("up", "ada"), ("down", "ada"), ("down", "g"))
    ]
    counted = Agreement(rows)
    assert counted.labels == 3
    agreement = counted.pooled.people.agreement.figure()
    assert agreement is not None and (agreement.estimate, agreement.n) == (1, 1)


def ranked(ranks: Sequence[int], annotator: str, **more: Any) -> StoredFeedback:
    """A ranking, built without being checked: of thousands of responses that takes longer than what is tested."""
    texts = [f"answer {number}" for number in range(len(ranks))]
    label = StoredFeedback.model_construct(
        kind="ranking",
        prompt=Prompt(messages=(Message(role="user", content="A?"),)),
        responses=tuple(Response.model_construct(text=text, model="m") for text in texts),
        label=RankingLabel.model_construct(ranks=tuple(ranks), strengths=None),
        **{"source": "human", "annotator": annotator, "group": None, "shown": None, **more},
    )
    label.__dict__["item"] = "one"
    return label


def pairwise(first: Sequence[int], second: Sequence[int]) -> float:
    """The share of all pairs of responses that two rankings order alike."""
    one, two = np.sign(np.subtract.outer(first, first)), np.sign(np.subtract.outer(second, second))
    above = np.triu_indices(len(first), 1)
    return float(np.mean(one[above] == two[above]))


def test_a_ranking_of_100_responses_is_counted_whole() -> None:
    draw = random.Random(1)
    ada = [draw.randrange(1, 40) for _ in range(100)]
    grace = [draw.randrange(1, 40) for _ in range(100)]
    counted = Agreement([ranked(ada, "ada"), ranked(grace, "grace")])
    [pair] = counted.pairs.values()
    assert pair.units == 4950
    assert pair.agreement == pytest.approx(pairwise(ada, grace))


def test_of_a_ranking_of_2000_responses_pairs_are_drawn() -> None:
    """All pairs of all of them would be two million a rater."""
    draw = random.Random(2)
    ada = list(range(2000))
    grace = sorted(ada, key=lambda rank: rank + draw.gauss(0, 700))
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1

    counted = Agreement([ranked(ada, "ada"), ranked(grace, "grace"), ranked(ada, "mary")], look)
    pair = counted.pairs[Rater("human", "ada"), Rater("human", "grace")]
    assert pair.units == looks == PAIRS_OF_A_RANKING
    assert pair.agreement == pytest.approx(pairwise(ada, grace), abs=0.03)
    assert counted.pairs[Rater("human", "ada"), Rater("human", "mary")].agreement == 1


def test_pairs_of_a_long_ranking_are_different_and_as_many_as_may_be() -> None:
    drawn = list(_pairs(500, 1000, "an item"))
    assert len(set(drawn)) == len(drawn) == VALUES_OF_AN_ITEM // 1000
    assert all(0 <= first < second < 500 for first, second in drawn)
    assert drawn == list(_pairs(500, 1000, "an item")) != list(_pairs(500, 1000, "another"))
    assert [_pair(number) for number in range(6)] == [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]


def test_figures_of_very_many_raters_are_bounded_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.labels.agreement.MOST_RATERS", 5)
    monkeypatch.setattr("service.labels.agreement.MOST_PAIRED", 3)
    counted = Agreement([label({"value": "up"}, f"rater {n}", kind="thumbs") for n in range(9)])
    expected = [f"rater {n}" for n in range(5)]
    assert [rater.annotator for rater in counted.raters] == expected
    assert len(counted.left_out) == 4 and counted.labels == 9
    assert len(counted.pairs) == 3
    everyone = counted.everyone.agreement.figure()
    assert everyone is not None and (everyone.estimate, everyone.n) == (1, 36)  # all of them, nevertheless
    first = counted.raters[Rater("human", "rater 0")].with_people.figure()
    assert first is not None and first.n == 8


def test_ratings_that_are_all_different_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.labels.agreement.MOST_VALUES", 10)
    rows = [label({"value": 1 + n / 10, "scale": {"min": 1, "max": 5}}, f"rater {n}") for n in range(12)]
    with pytest.raises(InputError, match="more than 10 different ratings"):
        Agreement(rows)


async def test_agreement_ends_with_its_client(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    id = await projected(api)
    reading, ended = threading.Event(), threading.Event()

    def endless(connection: Any, chosen: Any, stop: Any) -> Any:
        reading.set()
        try:
            while True:
                stop.check()
                time.sleep(0.001)
        finally:
            ended.set()

    monkeypatch.setattr("service.review.agreement.figures.labels_by_item", endless)
    scope = {"type": "http", "method": "GET", "path": f"/v1/projects/{id}/agreement", "query_string": b""}
    scope |= {"headers": [(b"authorization", api.admin.headers["authorization"].encode())], "http_version": "1.1"}
    left = asyncio.Event()
    parts = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        for part in parts:
            return part
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    asked = asyncio.create_task(api.app(scope, receive, send))
    assert await asyncio.to_thread(reading.wait, 30)
    left.set()
    await asked
    assert ended.is_set()


def choice(answer: Any, annotator: str, **more: Any) -> Any:
    return label(answer if isinstance(answer, dict) else {"choice": answer}, annotator, kind="comparison", **more)


def test_people_agree_by_each_principle_whatever_order_they_saw() -> None:
    """By kind they agree on A and not on B; by true only Ada answers for B, so A is its one unit."""
    labels = [
        choice({"choice": "first", "by_principle": {"kind": "first", "true": "second"}}, "ada"),
        choice({"choice": "first", "by_principle": {"kind": "second", "true": "second"}}, "bob", texts=("b", "aa")),
        choice({"choice": "first", "by_principle": {"kind": "first"}}, "judge", source="ai"),
        choice({"choice": "tie", "by_principle": {"kind": "first", "true": "tie"}}, "ada", prompt="B?"),
        choice({"choice": "tie", "by_principle": {"kind": "tie", "true": "unsure"}}, "bob", prompt="B?"),
    ]
    counted = Agreement(sorted(labels, key=lambda one: one.item))
    kind, true = counted.pooled.by_principle["kind"], counted.pooled.by_principle["true"]
    assert (kind.coincidences.units, true.coincidences.units) == (2, 1)
    figure = kind.agreement.figure()
    assert figure is not None and (figure.estimate, figure.n) == (0.5, 2)
    disagreed = true.agreement.figure()  # Ada says b is truer than aa, Bob that aa is
    assert disagreed is not None and disagreed.estimate == 0


def test_unsure_is_counted_and_no_value() -> None:
    labels = [choice("unsure", "ada"), choice("first", "bob"), choice("first", "eve")]
    counted = Agreement(labels)
    assert counted.raters[Rater("human", "ada")].unsure == 1
    assert (
        counted.pooled.people.coincidences.labels == 2
        and counted.raters[Rater("human", "ada")].with_people.figure() is None
    )


def test_a_pair_of_which_one_is_unranked_is_no_unit_of_that_rater() -> None:
    texts = ("a", "b", "c")
    labels = [
        label({"ranks": ranks}, str(n), kind="ranking", texts=texts)
        for n, ranks in enumerate(([1, 2, 3], [1, 2, None], [None, 1, 2]))
    ]
    counted = Agreement(labels)
    # a-b by two raters, b-c by two, a-c by one alone, which is no unit.
    figure = counted.pooled.people.agreement.figure()
    assert counted.pooled.people.coincidences.units == 2 and figure is not None and figure.estimate == 1


async def test_measured_time_counts_where_there_is_one(api: Api) -> None:
    id = await projected(api)
    async with api.service.database.transaction() as connection:
        at = now()
        await connection.execute(update(leases).values(since=at - timedelta(seconds=100), until=at))
        mine = feedback.c.annotator == "id-of-ada"
        await connection.execute(update(feedback).where(mine).values(seconds=10.0))
    raters = (await api.admin.get(f"/v1/projects/{id}/agreement")).json()["raters"]
    seconds = {rater["annotator"]: (rater["seconds"], rater["labels_per_hour"]) for rater in raters}
    assert seconds["id-of-ada"] == (pytest.approx(10), pytest.approx(360))
    assert seconds["id-of-grace"] == (pytest.approx(100), pytest.approx(36))
    assert seconds["judge"] == (None, None)


def test_two_opposed_groups_agree_within_and_are_not_mixed() -> None:
    """Each group of two is of one mind on all items, and of the other's opposite."""
    labels = []
    for n in range(4):
        for name, group, said in (
            ("ada", "north", "first"),
            ("bob", "north", "first"),
            ("cyd", "south", "second"),
            ("dan", "south", "second"),
        ):
            labels.append(choice(said, name, prompt=f"{n}?", group=group))
    counted = Agreement(labels)
    assert counted.is_of_several_groups and set(counted.groups) == {"north", "south"}
    for together in counted.groups.values():
        figure = together.people.agreement.figure()
        assert figure is not None and (figure.estimate, figure.n) == (1, 4)
    pooled = counted.pooled.people.agreement.figure()
    assert pooled is not None and pooled.estimate == pytest.approx(2 / 6), "who brings them together sees this"
    within = counted.raters[Rater("human", "ada")].within_group.figure()
    assert within is not None and (within.estimate, within.n) == (1, 4)
    alone = Agreement(labels[:2])
    assert not alone.is_of_several_groups

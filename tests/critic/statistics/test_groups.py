"""Groups: counted by hand, against published shares, found where they are planted, and not where there are none."""

import csv
from pathlib import Path

import numpy as np
import pytest

from critic.statistics.groups.aggregations import AGGREGATIONS, Profile
from critic.statistics.groups.clusters import adjusted_rand, clusters
from critic.statistics.groups.losers import outcomes
from critic.statistics.groups.support import apart, group_informed_consensus, representative, tally

NAN = np.nan


def opposed(rng: np.random.Generator, people: int = 60, statements: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Two camps of the same size: what one agrees with the other rejects, with a tenth of votes at odds."""
    camp = np.arange(people) % 2
    votes = np.where(camp[:, None] == np.arange(statements)[None] % 2, 1.0, -1.0)
    noise = rng.random(votes.shape) < 0.1
    return np.where(noise, -votes, votes), camp


def test_support_counts_passes_and_leaves_out_those_who_were_not_asked() -> None:
    votes = [[1.0, 0.0], [-1.0, NAN], [1.0, NAN], [1.0, 1.0]]
    counts = tally(votes, ["a", "a", "b", "b"])
    assert counts.names == ("a", "b") and counts.asked.tolist() == [[2, 1], [2, 1]]
    assert counts.support().tolist() == [[0.5, 0.0], [1.0, 1.0]]
    figure = counts.figure(0, 0)
    assert figure is not None and (figure.estimate, figure.n) == (0.5, 2) and figure.low < 0.02 and figure.high > 0.98
    assert group_informed_consensus(counts).tolist() == pytest.approx([0.5 * 0.75, (1 / 3) * (2 / 3)])
    assert (representative(counts)[1] > representative(counts)[0]).all()


def test_a_statement_that_a_group_was_not_asked_about_has_no_support() -> None:
    counts = tally([[1.0, NAN], [1.0, 1.0]], ["a", "b"])
    assert np.isnan(counts.support()[0, 1]) and counts.figure(0, 1) is None


def test_what_is_no_vote_is_refused() -> None:
    for votes, groups in (([[2.0]], ["a"]), ([1.0], ["a"]), ([[1.0]], ["a", "b"])):
        with pytest.raises(ValueError):
            tally(votes, groups)


def test_two_opposed_groups_are_told_apart_and_found_from_votes_alone() -> None:
    votes, camp = opposed(np.random.default_rng(0))
    assert (apart(votes, camp).p or 1) <= 0.01
    votes[np.random.default_rng(1).random(votes.shape) < 0.3] = NAN
    clustered = clusters(votes)
    voted = clustered.group >= 0
    assert clustered.count == 2 and voted.sum() > 50 and (clustered.silhouette or 0) > 0.5
    assert adjusted_rand(clustered.group[voted], camp[voted]) > 0.9


@pytest.mark.slow
def test_clean_votes_raise_no_alarm() -> None:
    rng = np.random.default_rng(3)
    alarms = [0, 0]
    for seed in range(80):
        votes = rng.choice([-1.0, 0.0, 1.0], (44, 8))
        alarms[0] += (apart(votes, np.arange(44) % 2, seed).p or 1) <= 0.01
        alarms[1] += clusters(votes, seed).count > 0 if seed < 40 else 0
    assert alarms[0] <= 4 and alarms[1] <= 2


@pytest.mark.parametrize(
    "votes",
    [np.ones((50, 8)), np.full((50, 8), NAN), np.ones((3, 8)), np.zeros((50, 1))],
    ids=["all alike", "nobody asked", "three people", "one statement"],
)
def test_where_there_is_too_little_a_sentence_stands_instead_of_groups(votes: np.ndarray) -> None:
    clustered = clusters(votes)
    assert clustered.count == 0 and clustered.silhouette is None and clustered.refusal.endswith(".")


def test_groups_too_small_and_a_single_one_are_refused() -> None:
    votes = np.ones((30, 4))
    assert "one group" in apart(votes, ["a"] * 30).refusal
    assert "b (1)" in apart(votes, ["a"] * 29 + ["b"]).refusal


def test_the_number_of_groups_does_not_depend_on_the_order_of_people() -> None:
    votes, camp = opposed(np.random.default_rng(4))
    order = np.random.default_rng(5).permutation(len(votes))
    assert adjusted_rand(clusters(votes[order]).group, camp[order]) == adjusted_rand(clusters(votes).group, camp)


def test_adjusted_rand_is_one_for_the_same_division_under_other_names_and_near_zero_by_chance() -> None:
    assert adjusted_rand([0, 0, 1, 1], ["x", "x", "y", "y"]) == 1
    assert adjusted_rand([0, 0, 1, 1], [0, 1, 0, 1]) == pytest.approx(-0.5)  # by hand: (0 - 2/3) / (2 - 2/3)


def one_item(*people: tuple[str, tuple[float, ...]]) -> Profile:
    groups, scores = zip(*people, strict=True)
    return Profile.of(scores, ["item"] * len(people), groups, range(len(people)))


def winner(name: str, profile: Profile) -> list[float]:
    shares: list[float] = AGGREGATIONS[name].decide(profile)[0].tolist()
    return shares


def test_the_ways_differ_where_they_must() -> None:
    """Three of one group love a and hate c; two of the other hate a, and both can live with b."""
    profile = one_item(
        *[("large", (1.0, 0.65, 0.0))] * 3,
        *[("small", (0.0, 0.65, 0.7))] * 2,
    )
    assert winner("mean", profile) == [0, 1, 0]  # .6, .65, .28
    assert winner("majority", profile) == [1, 0, 0]
    assert winner("borda", profile) == [1, 0, 0]  # 3 * 3 + 2 * 1 = 11, 5 * 2 = 10, 3 * 1 + 2 * 3 = 9
    assert winner("maximin", profile) == [0, 1, 0]
    assert winner("nash", profile) == [0, 1, 0]
    assert winner("soft", profile) == [0.6, 0, 0.4]


def test_equals_share_and_no_majority_decides_nothing() -> None:
    profile = one_item(("a", (1.0, 0.0)), ("b", (0.0, 1.0)))
    for name in ("mean", "borda", "maximin", "nash", "proportional", "soft"):
        assert winner(name, profile) == [0.5, 0.5], name
    assert np.isnan(winner("majority", profile)).all()


def test_a_group_that_likes_nothing_does_not_undo_the_choice_among_the_rest() -> None:
    profile = one_item(("a", (0.9, 0.2)), ("b", (0.0, 0.0)))
    assert winner("nash", profile) == [1, 0]


def many(groups: dict[str, int], items: int = 30) -> Profile:
    """On every item the first group is for the first alternative, all others for the second."""
    rows = [(g, i, p) for i in range(items) for g, n in groups.items() for p in range(n)]
    first = next(iter(groups))
    scores = [(1.0, 0.0) if g == first else (0.0, 1.0) for g, _, _ in rows]
    asked = [f"{i:03}" for _, i, _ in rows]
    own = [group for group, _, _ in rows]
    return Profile.of(scores, asked, own, [f"{group}{person}" for group, _, person in rows])


def test_a_minority_loses_always_by_majority_and_gets_its_share_by_proportion() -> None:
    by_name = {one.aggregation.name: one for one in outcomes(many({"many": 60, "few": 30}))}
    by_majority = {loss.group: loss for loss in by_name["majority"].losses}
    assert by_majority["few"].overruled is not None and by_majority["few"].overruled.estimate == 1
    assert by_name["majority"].loser is by_majority["few"]
    by_share = {loss.group: loss for loss in by_name["proportional"].losses}
    assert by_share["many"].overruled is not None
    assert by_share["many"].overruled.estimate == pytest.approx(1 / 3, abs=0.05)
    assert by_share["few"].regret is not None and by_share["few"].regret.estimate == pytest.approx(2 / 3, abs=0.05)
    regret = by_majority["few"].regret
    assert regret is not None and regret.low < regret.estimate == regret.high == 1, "all lose alike: it has a width"
    even = outcomes(many({"a": 30, "b": 30}), ("majority",))[0]
    assert even.undecided == 30
    assert all("0 items of which anything is decided" in loss.refusal for loss in even.losses)


def test_groups_and_items_too_few_are_refused_by_name() -> None:
    small = outcomes(many({"many": 40, "few": 5}), ("mean",))[0]
    assert [loss.group for loss in small.losses if loss.refusal] == ["few"] and small.loser is None
    short = outcomes(many({"a": 40, "b": 40}, items=3), ("mean",))[0]
    assert all("items" in loss.refusal for loss in short.losses)


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_no_way_depends_on_the_order_of_people(name: str) -> None:
    rng = np.random.default_rng(6)
    scores, groups = rng.random((40, 3)), rng.choice(["a", "b"], 40)
    items, people = np.repeat(np.arange(4), 10), np.arange(40)
    order = rng.permutation(40)
    one = AGGREGATIONS[name].decide(Profile.of(scores, items, groups, people))
    other = AGGREGATIONS[name].decide(Profile.of(scores[order], items[order], groups[order], people[order]))
    assert np.allclose(one, other, equal_nan=True)


@pytest.mark.parametrize(
    ("scores", "item"), [([[0.5]], ["i"]), ([[2.0, 0.0]], ["i"]), ([[0.1, NAN]], ["i"]), ([[0.1, 0.2]], [])]
)
def test_what_is_no_profile_is_refused(scores: list[list[float]], item: list[str]) -> None:
    with pytest.raises(ValueError):
        Profile.of(scores, item, ["g"] * len(scores), ["p"] * len(scores))


def test_all_550_published_consensus_values_of_the_two_groups(cai_data: Path) -> None:
    with (cai_data / "ccai/clean_votes.csv").open(newline="") as file:
        people = list(csv.DictReader(file))
    with (cai_data / "ccai/clean_comments.csv").open(newline="") as file:
        comments = {row["comment-id"]: row for row in csv.DictReader(file)}
    votes = []
    for row in people:
        votes.append([float(row[id]) if row[id] else NAN for id in comments])
    counts = tally(votes, [row["group-id"] for row in people])
    support = counts.support()
    equal = 0
    for group, name in enumerate(counts.names):
        for place, comment in enumerate(comments.values()):
            equal += support[group, place] == float(comment[f"group_{name}_consensus"])
    assert equal == 550 and support[:, 0].tolist() == [0.8869565217391304, 0.9347826086956522]


@pytest.mark.slow
def test_opinion_groups_are_found_on_the_published_votes(cai_data: Path) -> None:
    with (cai_data / "ccai/clean_votes.csv").open(newline="") as file:
        people = list(csv.DictReader(file))
    cells = np.array([list(row.values())[7:] for row in people])
    votes = np.where(cells == "", "nan", cells).astype(float)
    clustered = clusters(votes)
    assert 2 <= clustered.count <= 5 and clustered.p == 0.005 and clustered.silhouette is not None
    told = apart(votes[clustered.group >= 0], clustered.group[clustered.group >= 0])
    assert (told.p or 1) < 0.01, "they were found from these votes, so they differ on them"

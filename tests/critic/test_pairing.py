"""Judgements to pairs: by hand."""

from itertools import combinations

import pytest

from critic.pairing import Pairing, best_against_worst, pair
from critic.records import Judgement, Response
from tests.factories import judgement, response

RANKED = Pairing(ranking=True)


def j(first: int, second: int, p: float | None, group: str | None = None) -> Judgement:
    return judgement((), p, first=first, second=second, group=group)


def answers(texts: str) -> list[Response]:
    return [response(text) for text in texts]


def test_best_and_worst_by_hand() -> None:
    # Means: 0: (.9 + .8) / 2, 1: (.1 + .7) / 2, 2: (.2 + .3) / 2.
    [chosen], drops = best_against_worst([j(0, 1, 0.9), j(0, 2, 0.8), j(1, 2, 0.7)])
    assert (chosen.first, chosen.second) == (0, 2) and not drops
    [tie], drops = best_against_worst([j(0, 1, 0.5), j(0, 2, 0.5), j(1, 2, 0.5)])
    assert tie.outcome == "tie" and not drops  # which then makes no pair, as any tie
    none, [unread] = best_against_worst([j(0, 1, None)])
    assert not none and unread.reason == "unreadable"
    # 0 is best and 2 worst by the means (.65, .55, .3), yet 2 beats 0 in their own comparison.
    none, [odd] = best_against_worst([j(0, 1, 0.9), j(0, 2, 0.4), j(1, 2, 1.0)])
    assert not none and odd.reason == "intransitive"


def test_ranked_pairs_are_transitive_where_comparisons_go_in_a_circle() -> None:
    circle = [j(0, 1, 0.9), j(1, 2, 0.7), j(0, 2, 0.3)]
    plain = pair(answers("abc"), circle, Pairing())
    assert {(p.chosen.text, p.rejected.text) for p in plain.pairs} == {("a", "b"), ("b", "c"), ("c", "a")}
    ranked = pair(answers("abc"), circle, RANKED)
    assert [(p.chosen.text, p.rejected.text) for p in ranked.pairs] == [("a", "b"), ("a", "c"), ("c", "b")]
    [ranking] = ranked.rankings
    assert ranking.ranks == (1, 3, 2) and not ranked.drops
    odds = [p.probability / (1 - p.probability) for p in ranked.pairs]
    assert odds[0] == pytest.approx(odds[1] * odds[2]), "a over b is a over c, times c over b"


def test_best_of_n_by_rank_is_first_against_last() -> None:
    judged = [j(0, 1, 0.9), j(0, 2, 0.4), j(1, 2, 0.98)]
    assert not pair(answers("abc"), judged, Pairing(best_of_n=True)).pairs, "their own comparison disagrees"
    ranked = pair(answers("abc"), judged, Pairing(best_of_n=True, ranking=True))
    assert [(p.chosen.text, p.rejected.text) for p in ranked.pairs] == [("a", "c")]


def test_shared_ranks_make_no_pair_and_are_counted() -> None:
    ranked = pair(answers("abc"), [j(0, 1, 0.5), j(0, 2, 0.9), j(1, 2, 0.9)], RANKED)
    assert [(p.chosen.text, p.rejected.text) for p in ranked.pairs] == [("a", "c"), ("b", "c")]
    assert [(d.what, d.reason, d.detail) for d in ranked.drops] == [("pair", "tie", "candidates 0 and 1")]


def test_each_group_has_its_own_ranking() -> None:
    ups = [j(a, b, 0.8, "north") for a, b in combinations(range(3), 2)]
    downs = [j(a, b, 0.2, "south") for a, b in combinations(range(3), 2)]
    ranked = pair(answers("abc"), [*ups, *downs], RANKED)
    assert [(r.group, r.ranks) for r in ranked.rankings] == [("north", (1, 2, 3)), ("south", (3, 2, 1))]
    assert [p.group for p in ranked.pairs] == ["north"] * 3 + ["south"] * 3


@pytest.mark.parametrize(
    ("judged", "reason"),
    [
        ([j(0, 1, None), j(0, 2, None), j(1, 2, None)], "unreadable"),
        ([j(0, 1, 0.9), j(0, 2, None), j(1, 2, None)], "disconnected"),
    ],
)
def test_what_cannot_be_ranked_is_counted_and_makes_no_pair(judged: list[Judgement], reason: str) -> None:
    ranked = pair(answers("abc"), judged, RANKED)
    assert not ranked.pairs and not ranked.rankings
    assert [(d.what, d.reason) for d in ranked.drops] == [("ranking", reason)]


def test_equal_texts_make_no_pair_of_a_ranking() -> None:
    ranked = pair(answers("aba"), [j(0, 1, 0.9), j(1, 2, 0.3)], RANKED)
    assert [(p.chosen.text, p.rejected.text) for p in ranked.pairs] == [("a", "b"), ("a", "b")] and not ranked.drops

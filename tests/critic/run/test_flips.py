"""What is foreseen of another constitution is what comes of it: each run here is extended, and compared."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from constitution import Constitution, load
from critic.judging.aggregate import aggregate
from critic.records import Judgement
from critic.run.folder.flips import Foreseer, Foresight
from critic.run.folder.reading import foresee
from critic.settings.judging import Pooling
from tests.factories import both_orders, judgement, row, run_config, small_constitution

from .run_bench import Bench

Edit = Callable[[list[dict[str, Any]]], object]


def _reword(field: str) -> Edit:
    return lambda principles: principles[1].update({field: "Something else."})


def _add(principles: list[dict[str, Any]]) -> None:
    principles.append({**principles[0], "id": "new", "compare": "Which is new?", "statement": "Be new."})


def _rename(principles: list[dict[str, Any]]) -> None:
    principles[2]["id"] = "renamed"


EDITS: dict[str, Edit] = {
    "compare": _reword("compare"),
    "critique": _reword("critique"),
    "revision": _reword("revision"),
    "title": _reword("title"),
    "opposite": _reword("opposite"),
    "weight": lambda principles: principles[0].update(weight=30),
    "priority": lambda principles: principles[2].update(priority=2),
    "group": lambda principles: principles[3].update(group={"id": "north"}),
    "applies to": lambda principles: principles[0].update(applies_to=["code"]),
    "added": _add,
    "removed": lambda principles: principles.pop(0),
    "renamed": _rename,
    "most of them": lambda principles: [p.update(compare=f"Which? {p['id']}") for p in principles[:3]],
}
SETTINGS: dict[str, dict[str, Any]] = {
    "samples": {"samples": 3, "revisions": 0},
    "drawn": {"samples": 2, "revisions": 1, "judge_principles": 2},
    "revision": {"strategy": "revision", "samples": 2},
    "majority": {"revisions": 0, "aggregation": "majority"},
    "minimum": {"revisions": 0, "aggregation": "minimum"},
}


EDITS_BY_SETTINGS = {
    "samples": tuple(EDITS),
    "drawn": ("added", "removed", "critique", "revision", "compare"),
    "revision": ("critique", "compare", "title", "added"),
    "majority": ("compare", "weight"),
    "minimum": ("compare", "priority"),
}
CASES = [(settings, edit) for settings, edits in EDITS_BY_SETTINGS.items() for edit in edits]


@pytest.mark.parametrize(("settings", "edit"), CASES)
def test_what_is_foreseen_comes_to_pass(tmp_path: Path, edit: str, settings: str) -> None:
    bench = Bench(tmp_path)
    bench.prompts = bench.prompts[:4]
    bench.run(settings=SETTINGS[settings])
    before = _judgements(bench)
    old = load(tmp_path / "c.yaml")
    bench.constitution["version"] = "1.1.0"
    EDITS[edit](bench.constitution["principles"])
    bench.request()  # writes the file
    seen = foresee(bench.out, load(tmp_path / "c.yaml"), (old,)).foresight
    calls = bench.run(settings=SETTINGS[settings], extend=True).calls
    after = _judgements(bench)
    moved = {key for key in before.keys() | after.keys() if _side(before.get(key)) != _side(after.get(key))}
    flips = {(f.row, f.first, f.second, f.group) for f in seen.flips}
    may = {(f.row, f.first, f.second, f.group) for f in seen.may_flip}
    if settings != "revision":  # there, comparisons of other answers take the old ones' places
        assert flips <= moved and moved <= flips | may
        assert seen.stays + len(flips) + len(may) == len(before.keys() | after.keys())
        revised = calls - 2 * seen.questions  # each question in both orders, and each round a critique and a revision
        assert revised == 2 * seen.revisions or (edit == "revision" and 0 < revised <= 2 * seen.revisions)
    else:
        assert (calls == 0) == (seen.questions + seen.revisions == 0)
        assert not (seen.flips or seen.may_flip) or edit not in ("title", "opposite")
    for one in seen.may_flip:
        judged = after.get((one.row, one.first, one.second, one.group))
        if judged is not None and judged.probability is not None and not one.rewritten:
            assert one.low is not None and one.high is not None
            assert one.low - 1e-9 <= judged.probability <= one.high + 1e-9


def _judgements(bench: Bench) -> dict[tuple[int, int, int, str | None], Judgement]:
    return {(row.row, j.first, j.second, j.group): j for row in bench.rows() for j in row.judgements}


def _side(judged: Judgement | None) -> object:
    if judged is None:
        return None
    return (
        judged.outcome,
        judged.probability is not None and judged.outcome == "preference" and judged.probability > 0.5,
    )


def _look(judged: Judgement, edit: Edit, **settings: Any) -> Foresight:
    """What is foreseen of one judgement of two principles, ``p0`` and ``p1``, under an edited constitution."""
    made = small_constitution(2)
    old = Constitution.model_validate(made)
    digests = {p.id: p.digest for p in old.principles}
    votes = [v.model_copy(update={"principle_digest": digests[v.principle or ""]}) for v in judged.votes]
    edit(made["principles"])
    seat = {"judge": {"name": "judge-1", "revision": "1"}, "mode": {"name": "logprob"}}
    config = run_config(kind="judge", jury=[seat], **settings)
    foreseer = Foreseer.of(config, Constitution.model_validate(made), [old])
    return foreseer.look([row(judgements=[judged.model_copy(update={"votes": tuple(votes)})])])


def _judged(first: float, second: float) -> Judgement:
    """A judgement of two principles with these log-odds."""
    votes = (*both_orders("p0", first, first), *both_orders("p1", second, second))
    principles = Constitution.model_validate(small_constitution(2)).principles
    return judgement(votes, aggregate(votes, principles, Pooling()).probability)


def test_a_missing_vote_that_can_not_outweigh_the_others_leaves_the_side() -> None:
    def reword(principles: list[dict[str, Any]], weight: float = 1) -> None:
        principles[0].update(weight=weight)
        principles[1].update(compare="Other?")

    assert _look(_judged(3.0, -1.0), partial(reword, weight=9)).stays == 1  # (9 * 3 - 6) / 10 is still above 0
    [judgement] = _look(_judged(3.0, -1.0), reword).may_flip  # (3 - 6) / 2 is not
    assert (judgement.missing, judgement.certainty) == (1, "may_flip")
    assert judgement.low == pytest.approx(1 / (1 + 2.718281828 ** (1.5))) and judgement.high == pytest.approx(
        1 / (1 + 2.718281828 ** (-4.5))
    )


def test_a_weight_that_turns_a_judgement_is_known_to() -> None:
    [judgement] = _look(_judged(1.0, -2.0), lambda principles: principles[0].update(weight=4)).flips
    assert (judgement.change, judgement.missing) == ("changed_side", 0)
    assert (
        judgement.before is not None
        and judgement.before < 0.5
        and judgement.low == judgement.high
        and (judgement.low or 0) > 0.5
    )


def test_a_first_class_that_decides_leaves_a_missing_vote_of_the_second_nothing_to_say() -> None:
    def edit(principles: list[dict[str, Any]]) -> None:
        principles[1].update(compare="Other?", priority=2)

    assert _look(_judged(0.5, -6.0), edit).flips[0].change == "changed_side"


def test_a_vote_under_a_principle_that_nobody_knows_counts_as_missing() -> None:
    made = Constitution.model_validate(small_constitution(2))
    seat = {"judge": {"name": "judge-1", "revision": "1"}, "mode": {"name": "logprob"}}
    seen = Foreseer.of(run_config(kind="judge", jury=[seat]), made, []).look([row(judgements=[_judged(1.0, 1.0)])])
    assert (seen.questions, len(seen.may_flip)) == (2, 1)  # the votes' digests are of no principle at hand

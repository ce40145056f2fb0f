"""Reweighing: the same as running again with other weights, without a call; and never a guess for a missing vote."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from base.errors import InputError
from constitution import Constitution, load
from critic.engine import Identity
from critic.records import Judgement, Quarantined, Row, Vote
from critic.run import run as run_module
from critic.run.config import RunConfig, RunSettings
from critic.run.folder.store import RunStore
from critic.run.request import RunRequest
from critic.run.reweigh import Reweighed, ReweighRequest, reweigh
from critic.run.run import run
from tests.factories import both_orders, judgement, provenance, row, run_config, small_constitution

EXPORTS = ("pairs.jsonl", "sft.jsonl", "feedback.jsonl", "quarantine.jsonl", "README.md")


class Bench:
    """A folder with a constitution of four principles, two scripted judges, and prompts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.constitution = small_constitution(4)
        (folder / "p.jsonl").write_text("".join(f'{{"prompt": "question {i}"}}\n' for i in range(8)) + "{broken\n")
        given = [{"prompt": f"question {i}", "responses": ["a", f"b {i}", "c", "a"]} for i in range(8)]
        (folder / "given.jsonl").write_text("".join(json.dumps(line) + "\n" for line in given))
        (folder / "one.yaml").write_text("{}")
        (folder / "two.yaml").write_text("{likelihood: long}")

    def write(self) -> str:
        file = self.folder / "c.yaml"
        file.write_text(yaml.safe_dump(self.constitution))
        return str(file)

    def principle(self, number: int) -> dict[str, Any]:
        principle: dict[str, Any] = self.constitution["principles"][number]
        return principle

    def run(self, out: str, *, extend: bool = False, given: bool = False, jury: bool = False, **settings: Any) -> Path:
        judge = f"scripted:{self.folder / 'one.yaml'}"
        request = RunRequest(
            principles=self.write(),
            source=str(self.folder / ("given.jsonl" if given else "p.jsonl")),
            judges=(judge, f"scripted:{self.folder / 'two.yaml'}") if jury else (judge,),
            modes=("logprob", "contrast") if jury else ("logprob",),
            policy=None if given else judge,
            settings={"samples": 3} | settings,
        )
        asyncio.run(run(request, self.folder / out, extend=extend))
        return self.folder / out

    def reweigh(self, run: str, out: str, principles: str | None = None, **request: Any) -> Reweighed:
        request["principles"] = principles or self.write()
        return asyncio.run(reweigh(ReweighRequest(**request), self.folder / run, self.folder / out))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def exports(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in EXPORTS}


def rows_of(directory: Path) -> list[Row]:
    with closing(RunStore.open_existing(directory)) as store:
        return list(store.rows())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strategy": "revision", "revisions": 2},
        {"strategy": "best-of-n"},
        {"strategy": "best-of-n", "ranking": True},
        {"ranking": True, "judge_principles": 2},
        {"given": True, "jury": True},
        {"given": True, "ranking": True, "aggregation": "majority"},
    ],
    ids=str,
)
def test_the_same_settings_give_the_same_bytes_without_any_engine(
    bench: Bench, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = exports(bench.run("run", **settings))
    (bench.folder / "one.yaml").unlink()
    monkeypatch.delattr(run_module, "open_engine")
    done = bench.reweigh("run", "new")
    assert exports(bench.folder / "new") == before
    assert done.changes.judgements.keys() <= {"kept_side", "stayed_tie"}
    assert done.changes.pairs_before == done.changes.pairs_after > 0
    assert not done.changes.stale and not done.changes.left_out and not done.unvoted
    assert done.results.calls == 0


@pytest.mark.parametrize("settings", [{"aggregation": m} for m in ("minimum", "majority", "probability")], ids=str)
def test_another_pooling_equals_a_run_with_it(bench: Bench, settings: dict[str, Any]) -> None:
    bench.run("run")
    done = bench.reweigh("run", "new", settings=settings)
    assert exports(bench.folder / "new") == exports(bench.run("fresh", **settings))
    assert done.changes.judgements["kept_side"] < done.changes.judgements.total()


def test_other_weights_priorities_groups_and_tags_equal_an_extended_run(bench: Bench) -> None:
    bench.principle(3)["group"] = {"id": "north"}
    bench.run("run", jury=True)
    bench.principle(0)["weight"] = 7
    bench.principle(1)["priority"] = 2
    bench.principle(2)["group"] = {"id": "north"}
    bench.principle(3)["group"] = {"id": "south"}
    done = bench.reweigh("run", "new")
    assert exports(bench.folder / "new") == exports(bench.run("run", jury=True, extend=True))
    assert {judged.group for one in rows_of(bench.folder / "new") for judged in one.judgements} == {
        None,
        "north",
        "south",
    }
    # Eight prompts, three comparisons each: "south" is new; the votes of "north" are other ones now.
    assert done.changes.judgements["group_is_new"] == 24 and not done.changes.left_out
    bench.principle(0)["applies_to"] = ["coding"]
    assert bench.reweigh("run", "again").changes.left_out == {"p0": 24 * 3}


def test_a_group_that_is_gone_gives_its_votes_to_the_others(bench: Bench) -> None:
    bench.principle(2)["group"] = {"id": "north"}
    bench.run("run")
    del bench.principle(2)["group"]
    done = bench.reweigh("run", "new")
    assert exports(bench.folder / "new") == exports(bench.run("run", extend=True))
    assert done.changes.judgements["group_is_gone"] == 24


def test_some_principles_and_weights_equal_a_constitution_of_them(bench: Bench) -> None:
    bench.run("run")
    done = bench.reweigh("run", "new", only=("p3", "p1"), weights={"p1": 4.0})
    assert done.changes.left_out == {"p0": 48, "p2": 48}
    bench.constitution["principles"] = [bench.principle(1) | {"weight": 4.0}, bench.principle(3)]
    assert done.constitution.digest == load(bench.write()).digest
    fresh = rows_of(bench.run("fresh", revisions=0))
    expected = [one.judgements for one in fresh]
    assert [one.judgements for one in rows_of(bench.folder / "new")] == expected
    wanted = [one.pairs for one in fresh]
    assert [one.pairs for one in rows_of(bench.folder / "new")] == wanted


def test_stale_votes_do_not_count_and_are_named(bench: Bench) -> None:
    bench.run("run")
    bench.principle(1)["compare"] = "Which is new?"
    bench.constitution["principles"].append({**bench.principle(0), "id": "new"})
    done = bench.reweigh("run", "new")
    assert done.changes.stale == {"p1": 48} and not done.changes.left_out
    assert done.unvoted == ("p1", "new")
    assert {vote.principle for one in rows_of(bench.folder / "new") for vote in one.votes()} == {"p0", "p2", "p3"}
    bench.reweigh("run", "others", only=("p0", "p2", "p3"))
    expected = [one.pairs for one in rows_of(bench.folder / "others")]
    assert [one.pairs for one in rows_of(bench.folder / "new")] == expected


def test_without_a_usable_vote_nothing_is_guessed(bench: Bench) -> None:
    bench.run("run")
    for number in range(4):
        bench.principle(number)["compare"] = f"Which is new in {number}?"
    done = bench.reweigh("run", "new")
    assert done.changes.judgements == {"became_unreadable": 24} and done.changes.pairs_after == 0
    assert {(judged.outcome, judged.votes) for one in rows_of(bench.folder / "new") for judged in one.judgements} == {
        ("unreadable", ())
    }
    assert done.results.statistics.drops["pair", "unreadable"] == 24
    for number in range(4):
        bench.principle(number)["applies_to"] = ["coding"]
    done = bench.reweigh("run", "none")
    assert done.results.statistics.outcomes == {"no_principle": 24}


def test_a_new_run_says_what_it_was_weighed_from_and_can_be_weighed_again(bench: Bench) -> None:
    before = {path: path.read_bytes() for path in bench.run("run", ranking=True).iterdir()}
    old = load(bench.write())
    bench.principle(0)["weight"] = 9.0
    bench.reweigh("run", "new", settings={"aggregation": "probability", "priorities": False, "tie_band": 0.1})
    assert {path: path.read_bytes() for path in before} == before, "the run is as it was"
    config = json.loads((bench.folder / "new" / "manifest.json").read_text())["config"]
    new = load(bench.write())
    assert (config["constitution_hash"], config["reweighed_from"]["constitution_hash"]) == (new.digest, old.digest)
    assert (config["aggregation"], config["reweighed_from"]["aggregation"]) == ("probability", "log-odds")
    assert (config["priorities"], config["tie_band"]) == (False, 0.1)
    assert config["weights"] == {"p0": 9.0, "p1": 1.0, "p2": 1.0, "p3": 1.0}
    assert all(one.rankings for one in rows_of(bench.folder / "new"))
    again = bench.reweigh("new", "again")
    assert exports(bench.folder / "again") == exports(bench.folder / "new")
    assert again.results.config["reweighed_from"]["reweighed_from"]["constitution_hash"] == old.digest


# By hand, on rows that were never run.


def stored(bench: Bench, rows: Sequence[Row], constitution: Constitution | None = None) -> None:
    """Put ``rows`` into the run ``run``, as if they had been judged under the bench's constitution, or another."""
    judged_under = constitution or load(bench.write())
    source = {"constitution": judged_under.ref, "constitution_hash": judged_under.digest}
    config = run_config(kind="judge", input="p.jsonl", **source)

    async def fill() -> None:
        with closing(RunStore.open(bench.folder / "run", config.flat(), extend=False)) as store:
            store.set_provenance(provenance(), config.plan)
            for one in rows:
                await store.finish(one, "", config.plan)
            await store.finish(Quarantined(row=99, where="p:100", reason="too_long", detail="x"), "", config.plan)

    asyncio.run(fill())


def judged(bench: Bench, odds: Mapping[str, float | None], probability: float | None, **more: Any) -> Judgement:
    """A judgement by single votes of the bench's principles."""
    digests = {principle.id: principle.digest for principle in load(bench.write()).principles}
    votes = [v for id, x in odds.items() for v in both_orders(id, x, x)]
    votes = [v.model_copy(update={"principle_digest": digests[v.principle or ""]}) for v in votes]
    return judgement(votes, probability, **more)


def test_each_change_is_counted(bench: Bench) -> None:
    # p0 alone decides after: its votes are 1, -1, 0, 1, unreadable, unreadable. Before, the others had their say.
    outcomes = [0.8, 0.7, 0.9, 0.5, 0.6, None]
    odds = [1.0, -1.0, 0.0, 1.0, None, None]
    stored(
        bench,
        [
            row(i, judgements=[judged(bench, {"p0": x, "p1": 2.0}, p)])
            for i, (x, p) in enumerate(zip(odds, outcomes, strict=True))
        ],
    )
    done = bench.reweigh("run", "new", only=("p0",))
    assert done.changes.judgements == {
        "kept_side": 1,
        "changed_side": 1,
        "became_tie": 1,
        "stopped_being_tie": 1,
        "became_unreadable": 1,
        "stayed_unreadable": 1,
    }
    assert (done.changes.pairs_before, done.changes.pairs_after) == (4, 3)
    assert done.changes.left_out == {"p1": 12} and done.results.quarantined == {"too_long": 1}


def test_priorities_can_be_ignored(bench: Bench) -> None:
    bench.principle(1)["priority"] = 2
    stored(bench, [row(0, judgements=[judged(bench, {"p0": 1.0, "p1": -3.0}, 0.7)])])
    bench.reweigh("run", "new", settings={"priorities": False})
    [pair] = rows_of(bench.folder / "new")[0].pairs
    # The mean of 1 and -3 is -1: the second is better.
    assert pair.chosen.text == "The Po." and pair.probability == pytest.approx(1 / (1 + 2.718281828**-1))


def test_a_reward_models_vote_counts_in_its_own_group_only(bench: Bench) -> None:
    bench.principle(0)["group"] = {"id": "north"}
    reward = Vote(principle=None, principle_digest=None, judge="rm", mode="rm", order=None, log_odds=2.0)
    stored(bench, [row(0, judgements=[judgement([reward], 0.88, group="north")])])
    bench.constitution["principles"][1]["weight"] = 5.0
    done = bench.reweigh("run", "same", only=("p0",))
    assert done.changes.judgements == {"kept_side": 1} and done.results.statistics.pairs == 1
    bench.principle(0)["group"] = {"id": "south"}
    done = bench.reweigh("run", "other", only=("p0",))
    assert done.changes.judgements == {"group_is_gone": 1, "group_is_new": 1} and done.changes.pairs_after == 0
    assert done.changes.left_out == {"rm (rm)": 1}


def test_bad_input_is_told_and_writes_nothing(bench: Bench) -> None:
    stored(bench, [row(0, judgements=[judged(bench, {"p0": 1.0}, 0.7)])])
    (bench.folder / "full").mkdir()
    (bench.folder / "full" / "thesis.tex").write_text("precious")
    (bench.folder / "file").write_text("x")
    asked: list[tuple[str, str, dict[str, Any], str]] = [
        ("run", "run", {}, "the run itself"),
        ("run", "full", {}, "not an empty directory"),
        ("run", "file", {}, "not an empty directory"),
        ("full", "new", {}, "no run here"),
        ("run", "new", {"only": ("p9",)}, r"no principle 'p9'(.|\n)*It has p0, p1, p2, p3"),
        ("run", "new", {"only": ("p0",), "weights": {"p1": 2.0}}, r"no principle 'p1'(.|\n)*It has p0$"),
        ("run", "new", {"weights": {"p1": 0.0}}, "--weight p1: 0.0 is no weight"),
        ("run", "new", {"weights": {"p1": float("nan")}}, "nan is no weight"),
        ("run", "new", {"settings": {"tie_band": 0.7}}, "--tie-band"),
    ]
    for source, out, request, message in asked:
        with pytest.raises(InputError, match=message):
            bench.reweigh(source, out, **request)
    with pytest.raises(InputError, match=r"not at hand(.|\n)*--principles"):
        asyncio.run(reweigh(ReweighRequest(), bench.folder / "run", bench.folder / "new"))
    assert not (bench.folder / "new").exists() and (bench.folder / "full" / "thesis.tex").read_text() == "precious"


def test_a_published_constitution_is_found_by_the_runs_config(bench: Bench) -> None:
    hhh = load("hhh")
    votes = [
        vote.model_copy(update={"principle_digest": hhh.principles[0].digest})
        for vote in both_orders(hhh.principles[0].id, 1.0, 1.0)
    ]
    stored(bench, [row(0, judgements=[judgement(votes, 0.6)])], hhh)
    done = asyncio.run(reweigh(ReweighRequest(), bench.folder / "run", bench.folder / "new"))
    assert done.constitution == hhh and done.changes.judgements == {"kept_side": 1}
    assert set(done.unvoted) == {principle.id for principle in hhh.principles[1:]}


def test_a_published_constitution_that_has_changed_is_refused(bench: Bench) -> None:
    stored(bench, [], load("hhh").model_copy(update={"summary": "as it was"}))
    with pytest.raises(InputError, match=r"has changed since(.|\n)*--principles"):
        asyncio.run(reweigh(ReweighRequest(), bench.folder / "run", bench.folder / "new"))


def test_only_runs_whose_config_can_be_read_are_reweighed(bench: Bench) -> None:
    with closing(RunStore.open(bench.folder / "run", {"kind": "injection"}, extend=False)):
        pass
    with pytest.raises(InputError, match=r"config can't be read(.|\n)*Expected a run of `cai generate` or `cai judge`"):
        bench.reweigh("run", "new")


def test_a_config_is_read_back_as_it_was_saved(bench: Bench) -> None:
    with closing(RunStore.open_existing(bench.run("run", jury=True, judge_principles=2))) as store:
        config = RunConfig.of_flat(store.config())
        assert config.flat() == store.config() and isinstance(config.policy, Identity)
        assert config.settings == RunSettings(samples=3, judge_principles=2)

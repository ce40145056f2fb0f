"""Some votes are asked twice, where an engine's answers can differ, and no label changes by it."""

import asyncio
import json
import math
from pathlib import Path

import pytest

from base.digest import unit_interval
from critic.cluster.shard_worker import Asker
from critic.engine import Choices, Lane, Node, Score, reads
from critic.engine_kinds.capabilities import LOGPROBS, VARIES
from critic.engines.scripted import Script, ScriptedEngine
from critic.judging.jury import Juror, Jury
from critic.judging.modes.logprob import Logprob
from critic.run import run as running
from critic.run.config import Seat
from critic.run.request import check
from critic.run.retest import AT_LEAST, AT_ONCE, Tally, chosen, parts, varying, varying_seats
from critic.run.run import Outcome, run
from tests.critic.run.run_bench import Bench


class Unsteady(ScriptedEngine):
    """Each time it is asked the same, its log-odds of A grow by `STEP`."""

    STEP = 0.25

    def __init__(self, made: "list[Unsteady]") -> None:
        super().__init__(Script(), "unsteady")
        self.capabilities = {LOGPROBS: "exact", VARIES: "the time of day"}
        self.asked: dict[str, int] = {}
        self.reads = 0
        made.append(self)

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        return tuple([self._one(str(path)) for path, read, _ in reads(tree) if isinstance(read, Choices)])

    def _one(self, path: str) -> Score:
        self.reads += 1
        times = self.asked[path] = self.asked.get(path, -1) + 1
        odds = 6 * unit_interval("odds", path) - 3 + self.STEP * times
        return Score((-math.log1p(math.exp(-odds)), -math.log1p(math.exp(odds))), 1)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Unsteady]:
    engines: list[Unsteady] = []
    monkeypatch.setattr(running, "open_engine", lambda spec: Unsteady(engines))
    return engines


def do(bench: Bench, out: str, share: float, max_calls: int | None = None) -> Outcome:
    request = bench.request(settings={"revisions": 0})
    return asyncio.run(run(request, bench.folder / out, retest_share=share, max_calls=max_calls))


def test_a_share_is_asked_twice_and_its_spread_is_told(tmp_path: Path, made: list[Unsteady]) -> None:
    bench = Bench(tmp_path)
    plain, again = do(bench, "plain", 0), do(bench, "again", 0.01)
    assert again.calls - plain.calls == 2 * AT_LEAST  # both orders of a principle
    assert (plain.results.retest, again.results.retest is None) == (None, False)
    for name in ("pairs.jsonl", "sft.jsonl", "feedback.jsonl", "quarantine.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    retest = json.loads((tmp_path / "again" / "manifest.json").read_text())["retest"]
    assert retest["votes"] == 2 * AT_LEAST and retest["unread"] == 0
    assert [retest["spread"], retest["largest"]] == pytest.approx([Unsteady.STEP] * 2)
    assert retest["varies"] == {"unsteady": "the time of day"}
    assert "the time of day" in (tmp_path / "again" / "report.html").read_text()


def test_what_was_asked_twice_is_not_asked_a_third_time(tmp_path: Path, made: list[Unsteady]) -> None:
    bench = Bench(tmp_path)
    first = do(bench, "out", 0.05)
    second = do(bench, "out", 0.05)
    assert second.calls == 0 and first.results.retest == second.results.retest
    assert made[1].reads == 1  # the page that it is tried on when it is opened


def test_it_counts_in_the_budget_and_goes_on_later(tmp_path: Path, made: list[Unsteady]) -> None:
    bench = Bench(tmp_path)
    whole = do(bench, "whole", 0.01)
    stopped = do(bench, "out", 0.01, max_calls=whole.calls - 6)
    assert stopped.progress.stopped and stopped.results.retest is None
    assert stopped.progress.rows == len(bench.prompts)  # the labels are all there
    done = do(bench, "out", 0.01)
    assert done.calls == 6 and done.results.retest is not None and done.results.retest.votes == 2 * AT_LEAST


def test_the_same_votes_are_chosen_and_more_of_a_larger_share(tmp_path: Path, made: list[Unsteady]) -> None:
    bench = Bench(tmp_path)
    do(bench, "out", 0)
    bench.out = tmp_path / "out"
    rows = bench.rows()
    jurors = varying(Jury((Juror(made[0], Logprob()),)))
    few, many, all_of_them = (chosen(rows, jurors, share, 0) for share in (0.01, 0.5, 1.0))
    assert few == chosen(iter(rows), jurors, 0.01, 0) != chosen(rows, jurors, 0.01, 1)
    assert len(few) == AT_LEAST and set(few) <= set(many) <= set(all_of_them)
    assert len(all_of_them) == len(bench.prompts) * 4 and 0.25 < len(many) / len(all_of_them) < 0.75


def test_a_jury_is_known_by_its_seats_where_its_engines_are_elsewhere() -> None:
    jury = Jury((Juror(ScriptedEngine(Script(), "steady"), Logprob()), Juror(Unsteady([]), Logprob())))
    seats = [Seat(judge=one.engine.identity, mode={"name": one.mode.name}) for one in jury.jurors]
    capabilities = {one.engine.identity.name: dict(one.engine.capabilities) for one in jury.jurors}
    assert varying_seats(seats, capabilities) == varying(jury) != []
    assert [juror.place for juror in varying(jury)] == [1]


def test_actors_of_a_cluster_find_what_one_machine_finds(
    tmp_path: Path, made: list[Unsteady], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    request = bench.request(settings={"revisions": 0})
    here = do(bench, "out", 0.5).results.retest
    assert here is not None
    monkeypatch.setattr("critic.cluster.shard_worker.open_engine", lambda spec: made[0])
    checked, tally = check(request), Tally()
    made[0].asked = dict.fromkeys(made[0].asked, 0)  # each was asked once, as far as it knows
    bench.out = tmp_path / "out"
    with bench.store() as store:
        wanted = chosen(store.rows(), varying(Jury((Juror(made[0], Logprob()),))), 0.5, 0)
        asker = Asker(checked)
        for part in parts(wanted, store):
            assert len(part) <= AT_ONCE
            tally.add(asyncio.run(asker.ask(part)))
    assert tally.result(here.varies) == here


def test_an_engine_that_repeats_itself_is_not_asked_twice(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.run().results.retest is None

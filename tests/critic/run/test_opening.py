"""What is found out of a run's judges before its first row."""

import asyncio
import json
import math
from pathlib import Path

import pytest

from base.errors import InputError
from critic.engine import Completion, EngineDown, Lane, Node, Request, Score, reads
from critic.engine_kinds.capabilities import LOGPROBS, NONE, STRUCTURED
from critic.engines.scripted import Script, ScriptedEngine, ScriptedRule
from critic.run import run as running
from critic.run.run import Outcome, run
from tests.critic.run.run_bench import Bench


class Judge(ScriptedEngine):
    """Puts ``mass`` on the letters."""

    def __init__(self, mass: float, **capabilities: str) -> None:
        super().__init__(
            Script(replies=(ScriptedRule(match="one letter", reply="A"), ScriptedRule(reply="Answer {seed}"))),
            "judge-1",
        )
        self.capabilities = {LOGPROBS: "exact"} | capabilities
        self.mass, self.trees = mass, list[Node]()

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        self.trees.append(tree)
        shares = (0.7 * self.mass, 0.3 * self.mass)
        return tuple(Score(tuple(map(math.log, shares)), 1) for _ in reads(tree))


def do(bench: Bench, judge: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, mode: str = "logprob") -> Outcome:
    monkeypatch.setattr(running, "open_engine", lambda spec: judge)
    request = bench.request(settings={"revisions": 0}, modes=(mode,))
    return asyncio.run(run(request, bench.out))


def test_a_judge_that_thinks_first_costs_one_read_and_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, judge = Bench(tmp_path), Judge(3e-11)
    with pytest.raises(InputError, match=r"puts 3e-11 on A, B together.* think first"):
        do(bench, judge, monkeypatch)
    assert len(judge.trees) == 1 and judge.usage.calls == 0 and not bench.out.exists()


def test_its_label_mass_stands_in_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    do(bench, Judge(0.9), monkeypatch)
    manifest = json.loads((bench.out / "manifest.json").read_text())
    assert manifest["engines"]["judge-1"]["label mass, logprob"] == "0.9"
    assert manifest["statistics"]["figures"]["mass"]["estimate"] == pytest.approx(0.9)
    assert manifest["statistics"]["figures"]["low_mass"]["estimate"] == 0
    votes = [vote for row in bench.rows() for vote in row.votes()]
    assert votes and all(vote.mass == pytest.approx(0.9) for vote in votes)
    assert "label mass" in (bench.out / "report.html").read_text()


def test_what_is_learnt_during_the_run_stands_in_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Learns(Judge):
        async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
            self.capabilities = dict(self.capabilities) | {"chats": "some are others"}
            return await super().complete(request, lane)

    bench = Bench(tmp_path)
    do(bench, Learns(0.9), monkeypatch)
    said = json.loads((bench.out / "manifest.json").read_text())["engines"]["judge-1"]
    assert (said["chats"], said["label mass, logprob"]) == ("some are others", "0.9")


def test_cot_draws_letters_where_it_can_not_read_them_and_the_config_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, judge = Bench(tmp_path), Judge(3e-11)
    do(bench, judge, monkeypatch, "cot")
    assert len(judge.trees) == 1 and bench.rows()
    assert json.loads((bench.out / "manifest.json").read_text())["config"]["jury"][0]["mode"]["letters"] == "drawn"
    assert all(vote.log_odds is not None for row in bench.rows() for vote in row.votes())


def test_a_server_that_offers_nothing_is_refused_or_used_before_anything_is_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = {LOGPROBS: NONE, STRUCTURED: NONE}
    for mode in ("logprob", "score"):
        judge = Judge(0.9, **nothing)
        with pytest.raises(InputError, match="offers no log-probabilities") as refused:
            do(Bench(tmp_path), judge, monkeypatch, mode)
        assert "verdict" in str(refused.value.fix) and "letters" in str(refused.value.fix)
        assert not judge.trees and judge.usage.calls == 0
    assert do(Bench(tmp_path), Judge(0.9, **nothing), monkeypatch, "letters?samples=2").progress.rows == 12


def test_a_judge_that_is_gone_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Judge):
        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            raise EngineDown("nobody answers at that address")

    with pytest.raises(InputError, match="nobody answers"):
        do(Bench(tmp_path), Gone(0.9), monkeypatch)

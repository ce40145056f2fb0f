"""Runs whose judge is a server of typed decisions: exactly once, planned as made, refused before the first row."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from critic.engines import parse_spec
from critic.run.run import dry_run
from critic.server.typed.decision_engine import REFUSED
from tests.critic.engines.typed.pretended import DecisionServer
from tests.critic.run.run_bench import Bench

ROWS = 4
PRINCIPLES = 4


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.prompts = made.prompts[:ROWS]
    return made


def by_the_alphabet(text: str, instructions: str, options: list[str]) -> list[float]:
    """Likes the response that comes first in the alphabet, wherever it stands."""
    shown = text.split("[first response ")[1]
    first, second = (part.split("]\n")[1] for part in shown.split("\n[")[:2])
    return [0.9, 0.1] if first < second else [0.1, 0.9]


def asked(spec: str, **settings: object) -> dict[str, Any]:
    return {"judges": (spec,), "settings": {"revisions": 0, "strategy": "samples"} | settings}


def test_a_run_asks_an_order_s_principles_together_and_nothing_twice(
    bench: Bench, server: DecisionServer, kind: str
) -> None:
    server.weigh = by_the_alphabet
    how = asked(f"{kind}:org/model@{server.url}")
    planned = asyncio.run(dry_run(bench.request(**how)))
    assert server.asked == []
    outcome = bench.run(**how)
    # One question about a sample, where a label mass is to be found; at the end a share of the votes is asked again.
    tried = 1 if kind == "systemone" else 0
    rows, again = server.asked[tried : tried + 2 * ROWS], server.asked[tried + 2 * ROWS :]
    assert {len(body["questions"]) for body in rows} == {PRINCIPLES}
    texts = [body.get("state", body.get("input")) for body in rows]
    assert len(set(texts)) == 2 * ROWS  # one request an order
    assert {body.get("state", body.get("input")) for body in again} <= set(texts)
    assert outcome.calls == planned.calls + sum(len(body["questions"]) for body in again)
    before, asked_before = bench.rows(), len(server.asked)
    for row in bench.rows():
        [judgement] = row.judgements
        assert judgement.outcome == "preference" and judgement.mode == "decision"
        assert {vote.mass for vote in judgement.votes} == {0.97 if kind == "systemone" else None}
        assert {vote.confidence for vote in judgement.votes} == {0.6}
        [pair] = row.pairs
        assert pair.chosen.text < pair.rejected.text
    bench.run(**how)
    assert len(server.asked) == asked_before + tried and bench.rows() == before
    manifest = json.loads((bench.out / "manifest.json").read_text())
    assert f"/{kind}" in json.dumps(manifest)  # what the server was found to do


def test_a_model_that_puts_nothing_on_the_labels_is_refused_before_the_first_row(
    bench: Bench, server: DecisionServer
) -> None:
    server.mass = 3e-5
    with pytest.raises(
        InputError, match="puts 3e-05 on first response, second response together, which decision reads"
    ):
        bench.run(**asked(f"systemone:org/model@{server.url}"))
    assert len(server.asked) == 1 and bench.calls() == []
    server.weigh = by_the_alphabet
    outcome = bench.run(modes=("decision?floor=0",), **asked(f"systemone:org/model@{server.url}"))
    assert outcome.progress.rows == ROWS and all(row.pairs for row in bench.rows())


def test_a_principle_that_the_model_refuses_is_unreadable_and_counted(bench: Bench, server: DecisionServer) -> None:
    server.weigh = lambda *asked: None if "statement 1" in asked[1] else by_the_alphabet(*asked)
    outcome = bench.run(**asked(f"decisions:org/model@{server.url}"))
    assert outcome.progress.rows == ROWS
    votes = [vote for row in bench.rows() for judgement in row.judgements for vote in judgement.votes]
    unreadable = [vote for vote in votes if vote.log_odds is None]
    assert {(vote.principle, vote.raw) for vote in unreadable} == {("p1", REFUSED)}
    assert len(unreadable) == 2 * ROWS and len(votes) == 2 * ROWS * PRINCIPLES


def test_a_server_without_typed_decisions_stops_the_run_before_it_begins(bench: Bench, server: DecisionServer) -> None:
    server.probe = (501, {}, {"error": {"message": "The model does not support the structured decision API"}})
    with pytest.raises(InputError, match=r"(?s)501.*--mode logprob"):
        bench.run(**asked(f"systemone:org/model@{server.url}"))
    assert not bench.out.exists() and bench.calls() == []


def test_what_writes_nothing_is_no_policy_and_revises_nothing(bench: Bench) -> None:
    spec = "systemone:org/model@http://127.0.0.1:9/v1"
    with pytest.raises(InputError, match="gives decisions and answers nothing"):
        bench.run(policy=spec)
    with pytest.raises(InputError, match="no judge can write critiques"):
        bench.run(**asked(spec, revisions=1))
    assert not parse_spec(spec).writes

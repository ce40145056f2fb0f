"""What a dry run promises of what only an open engine knows: room for thoughts, and the path that a model takes."""

import asyncio
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from critic.engine import REASONING_ROOM, Identity
from critic.judging.base import ROOM_TO_THINK
from critic.run.folder.store import RunStore
from critic.run.plan import CHARACTERS_PER_TOKEN, Plan
from critic.run.run import dry_run
from tests.critic.run.run_bench import Bench

SERVER = "openai:m@http://127.0.0.1:9/v1?input_price=1&output_price=10"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def planned(bench: Bench, judge: str, out: Path | None = None, **more: Any) -> Plan:
    settings = {"revisions": 0}
    return asyncio.run(dry_run(bench.request(judges=(judge,), settings=settings, **more), out=out))


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ("verify:no-such-rule", "'no-such-rule' is no rule"),
        ("verify:max-words=many", "max-words=many is not a number"),
        ("hf:some/model?bach=4", "did you mean 'batch'"),
        ("vllm:some/model?gpus=none", "gpus=none is not a whole number"),
        (f"{SERVER}&rpn=4", "unknown option 'rpn'"),
        ("scripted:none.yaml", r"none\.yaml: the script can't be read"),
    ],
)
def test_an_engine_that_can_not_be_opened_is_refused_as_by_the_run(bench: Bench, judge: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        planned(bench, judge)


def test_a_server_s_model_may_think_beside_each_limit(bench: Bench) -> None:
    plan = planned(bench, SERVER, modes=("verdict",))
    judged = 12 * 4 * 2
    assert plan.completions == 12 * 2 + judged
    assert plan.thought_tokens == judged * REASONING_ROOM  # the scripted policy has no room
    assert plan.thought_cost == pytest.approx(plan.thought_tokens * 10 / 1e6)
    thinking = planned(bench, SERVER + "&think=true", modes=("verdict",))
    assert (thinking.thought_tokens, thinking.completion_tokens) == (plan.thought_tokens, plan.completion_tokens)


def test_a_model_that_is_told_not_to_think_needs_no_room(bench: Bench) -> None:
    plan, silent = (planned(bench, SERVER + more, modes=("verdict",)) for more in ("", "&think=false"))
    assert (silent.thought_tokens, silent.thought_cost) == (0, 0)
    assert plan.completion_tokens - silent.completion_tokens == 12 * 4 * 2 * ROOM_TO_THINK


def test_rows_that_are_estimated_by_their_length_have_their_room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = planned(bench, SERVER, modes=("verdict",))
    monkeypatch.setattr("critic.run.plan.PLANNED", 5)
    estimated = planned(bench, SERVER, modes=("verdict",))
    assert estimated.thought_tokens == exact.thought_tokens
    assert estimated.thought_cost == pytest.approx(exact.thought_cost)


def test_a_local_model_may_take_the_plain_path(bench: Bench) -> None:
    plan = planned(bench, "hf:some/model")
    served = planned(bench, SERVER)  # each vote is a request of its own, as each branch is on the plain path
    assert plan.plain_tokens > 0 and served.plain_tokens == 0
    assert math.isclose(plan.prompt_tokens + plan.plain_tokens, served.prompt_tokens, rel_tol=0.02)


@pytest.mark.parametrize("path", ["packed", "plain"])
def test_a_run_that_has_begun_knows_the_path(bench: Bench, path: str, tmp_path: Path) -> None:
    unknown = planned(bench, "hf:some/model")
    own = (("scoring", path),) if path == "plain" else ()
    judge = asdict(Identity("some/model", "1", (("dtype", "float32"), *own)))
    config = {"jury": [{"judge": judge, "mode": {"name": "logprob"}}], "policy": None, "critic": None}
    RunStore.open(tmp_path / "begun", config, extend=False).close()
    plan = planned(bench, "hf:some/model", tmp_path / "begun")
    assert plan.plain_tokens == 0
    assert plan.prompt_tokens == unknown.prompt_tokens + (unknown.plain_tokens if path == "plain" else 0)


def test_a_tree_s_chats_are_counted_whole_by_hand(bench: Bench) -> None:
    bench.constitution["principles"] = bench.constitution["principles"][:1]
    bench.prompts = ["one"]
    plan = planned(bench, "rm:some/rm", modes=("rm",))
    prompt, answer = "one", 256 * CHARACTERS_PER_TOKEN
    [policy, root] = [-(-len(prompt) // CHARACTERS_PER_TOKEN)] * 2
    assert plan.prompt_tokens == 2 * policy + root + 2 * answer // CHARACTERS_PER_TOKEN
    assert plan.plain_tokens == 2 * -(-(len(prompt) + answer) // CHARACTERS_PER_TOKEN) - root - 2 * 256

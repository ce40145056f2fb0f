"""What two configs differ in, in a person's words."""

from typing import Any

import pytest

from critic.run.differences import differences, raises_limit_only
from tests.factories import run_config


def _engine(name: str, revision: str = "1", **settings: str) -> dict[str, Any]:
    return {"name": name, "revision": revision, "settings": list(settings.items())}


def _seat(name: str, mode: str = "cot", **options: Any) -> dict[str, Any]:
    return {"judge": _engine(name), "mode": {"name": mode, **options}}


def _flat(**changes: Any) -> dict[str, Any]:
    made = run_config(jury=[_seat("A")], templates={"cot": "1", "score": "1"}).flat()
    return made | {"policy": _engine("P"), "jury": [_seat("A")]} | changes


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"seed": 7}, ["--seed: 0 there, 7 now"]),
        ({"judge_principles": 2}, ["--judge-principles: all there, 2 now"]),
        ({"ranking": True, "tie_band": 0.1}, ["--tie-band: 0.02 there, 0.1 now", "--ranking: off there, on now"]),
        ({"limit": 5}, ["--limit: none there, 5 now"]),
        ({"columns": "prompt=q"}, ["--columns: none there, prompt=q now"]),
        (
            {"constitution": "harmlessness@1.1.0", "constitution_hash": "e" * 64},
            ["constitution: harmlessness@1.0.0 there, harmlessness@1.1.0 now"],
        ),
        ({"constitution_hash": "e" * 64}, ["constitution: harmlessness@1.0.0 has other content now"]),
        ({"input_hash": "e" * 64}, ["input: prompts.jsonl has other content now"]),
        ({"input": "other.jsonl", "input_hash": "e" * 64}, ["input: prompts.jsonl there, other.jsonl now"]),
        (
            {"templates": {"cot": "2", "score": "1"}},
            ["templates: this version of cai words its questions otherwise (cot)"],
        ),
        ({"policy": _engine("Q")}, ["policy: P there, Q now"]),
        ({"policy": None}, ["policy: P there, none now"]),
        ({"policy": _engine("P", "2")}, ["policy: P has other weights, or another script, now"]),
        ({"policy": _engine("P", dtype="float32")}, ["policy P: dtype not given there, float32 now"]),
        ({"jury": [_seat("A"), _seat("B", "rm")]}, ["judge: A (cot) there, A (cot), B (rm) now"]),
        ({"jury": [_seat("A", samples=4)]}, ["mode cot of A: samples not given there, 4 now"]),
    ],
)
def test_each_difference_is_a_line(changes: dict[str, Any], lines: list[str]) -> None:
    assert differences(_flat(), _flat(**changes)) == lines


def test_equal_configs_differ_in_nothing() -> None:
    assert differences(_flat(), _flat()) == []


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"kind": "judge", "judge": ["J", "1", []]}, {"kind": "judge", "judge": ["K", "1", []]}),
        ({"kind": "choices", "judge": "J", "judge_hash": "1"}, {"kind": "choices", "judge": "K", "judge_hash": "2"}),
    ],
)
def test_measurements_are_told_apart_by_their_judge(before: dict[str, Any], now: dict[str, Any]) -> None:
    assert differences(before, now) == ["judge: J there, K now"]
    same = {key: (["J", "2", []] if isinstance(value, list) else value) for key, value in before.items()}
    assert differences(before, same | {"judge_hash": "3"} if "judge_hash" in before else same) == [
        "judge: J has other weights or settings now"
    ]


@pytest.mark.parametrize(
    ("before", "now", "raised"), [(5, 8, True), (5, None, True), (8, 5, False), (None, 5, False), (5, 5, False)]
)
def test_only_a_larger_limit_is_more_of_the_same(before: int | None, now: int | None, raised: bool) -> None:
    assert raises_limit_only(_flat(limit=before), _flat(limit=now)) is raised
    assert not raises_limit_only(_flat(limit=before), _flat(limit=now, seed=3))

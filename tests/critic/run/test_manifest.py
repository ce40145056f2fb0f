"""The manifest: every count, and nothing that two equal runs would disagree on but time and machine."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from critic.certificates.binding import code
from critic.records import Drop, Quarantined
from critic.run.folder.manifest import write_manifest
from critic.run.folder.results import gather
from tests.factories import both_orders, judgement, provenance, row

CONFIG = MappingProxyType({"seed": 7, "samples": 2})
ROWS = [
    row(0, judgements=[judgement(both_orders("calm", 2.0, 1.0), 0.8)]),
    row(1, judgements=[judgement(both_orders("calm", 2.0, None), None)]),
    row(2, drops=[Drop(what="response", reason="empty_response"), Drop(what="prompt", reason="truncated")]),
]
REFUSED = [
    Quarantined(row=3, where="a:4", reason="too_long", detail="x"),
    Quarantined(row=4, where="a:5", reason="too_long", detail="x"),
    Quarantined(row=5, where="a:6", reason="broken_line", detail="x"),
]


def written(
    directory: Path, config: Mapping[str, Any] = CONFIG, engines: Mapping[str, Mapping[str, str]] = MappingProxyType({})
) -> dict[str, Any]:
    directory.mkdir()
    results = gather(
        lambda: iter(ROWS),
        lambda: iter(REFUSED),
        provenance(),
        directory,
        "jsonl",
        config=config,
        calls=41,
        engines=engines,
    )
    write_manifest(results, directory)
    loaded: dict[str, Any] = json.loads((directory / "manifest.json").read_text())
    return loaded


def test_all_that_was_made_and_lost_is_counted(tmp_path: Path) -> None:
    told = written(tmp_path / "run")
    assert told["counts"] == {"rows": 3, "calls": 41, "pairs": 1, "sft": 0, "feedback": 2, "quarantine": 3}
    assert told["quarantined"] == {"broken_line": 1, "too_long": 2}
    assert told["statistics"]["drops"] == {
        "pair": {"unreadable": 1},
        "prompt": {"truncated": 1},
        "response": {"empty_response": 1},
    }
    assert told["config"] == {"seed": 7, "samples": 2}
    assert told["exports"]["pairs"]["file"] == "pairs.jsonl" and len(told["exports"]["pairs"]["sha256"]) == 64
    assert {"torch", "transformers", "cai-feedback"} <= told["packages"].keys()
    assert told["statistics"]["figures"]["unreadable"]["estimate"] == 0.25
    assert told["statistics"]["figures"]["lean"]["n"] == 3
    assert any("quarantine" in warning for warning in told["warnings"])


def test_equal_runs_differ_in_time_only(tmp_path: Path) -> None:
    one, other = written(tmp_path / "a"), written(tmp_path / "b")
    for told in (one, other):
        del told["written"]
    assert one == other


def test_the_embedded_judge_is_called_what_it_is(tmp_path: Path) -> None:
    from critic.local.embedded import NAME

    for judge, warned in ((NAME, True), ("strong-judge", False)):
        made = provenance(judge=judge)
        results = gather(lambda: iter([]), lambda: iter([]), made, tmp_path, "jsonl", config={}, calls=0)
        assert any("not worth training on" in warning for warning in results.warnings()) is warned


def test_a_family_that_wrote_and_alone_judged_is_flagged(tmp_path: Path) -> None:
    def model(name: str) -> dict[str, Any]:
        return {"name": name, "revision": name, "settings": []}

    for judges, flagged in ((("qwen-32b",), True), (("qwen-32b", "glm-9b"), False), (("a-judge",), False)):
        seats = [{"judge": model(name), "mode": {"name": "logprob"}} for name in judges]
        told = written(tmp_path / "-".join(judges), {"policy": model("my-qwen"), "jury": seats})
        assert any("it alone judged them" in warning for warning in told["warnings"]) is flagged


def test_a_judge_of_the_policys_kind_is_recorded_and_warned_of(tmp_path: Path) -> None:
    def model(name: str) -> dict[str, Any]:
        return {"name": name, "revision": name, "settings": []}

    seats = [{"judge": model(name), "mode": {"name": "logprob"}} for name in ("qwen-32b", "glm-9b", "my-qwen")]
    told = written(tmp_path / "run", {"policy": model("my-qwen"), "jury": seats}, {"qwen-32b": {"context": "4096"}})
    assert told["kinship"] == {"qwen-32b": "same family", "glm-9b": "unknown", "my-qwen": "same model"}
    assert [w for w in told["warnings"] if "of their own kind" in w] == [
        "The judge qwen-32b is of the policy's family (my-qwen): models favour answers of their own kind.",
        "The judge my-qwen is the policy itself: models favour answers of their own kind.",
    ]
    assert told["engines"] == {"qwen-32b": {"context": "4096"}}


def test_the_code_that_judged_is_named_but_not_of_votes_that_were_weighed_again(tmp_path: Path) -> None:
    assert written(tmp_path / "judged")["code"] == code()
    assert "code" not in written(tmp_path / "weighed", {**CONFIG, "reweighed_from": {"seed": 7}})

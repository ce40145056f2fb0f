"""Certificates: identity is content, a change of anything voids them, and gates refuse what they don't reach."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from base.errors import InputError
from critic.certificates import binding
from critic.certificates.certificate import (
    FILE,
    Certificate,
    CertifiedData,
    CertifiedFigure,
    CertifiedJudge,
    Coverage,
    certificate_of,
    read_certificate,
)
from critic.certificates.gate import JudgeBuild, RowsOrigin, require
from critic.certificates.origins import origins
from tests.factories import prompt

HASH, OTHER = "a" * 64, "b" * 64


def certificate(**changed: object) -> Certificate:
    figures = {
        "accuracy": CertifiedFigure(estimate=0.8, low=0.75, high=0.85, n=300, clusters=300),
        "calibration_error": CertifiedFigure(estimate=0.05, low=0.02, high=0.09, n=300, clusters=300),
        "leaning_to_length": CertifiedFigure(estimate=-0.1, low=-0.2, high=0.02, n=300, clusters=300),
        "retest_spread": CertifiedFigure(estimate=0.1, low=None, high=None, n=3, clusters=1),
    }
    judge = CertifiedJudge(name="judge", revision=HASH, settings=(), mode={"name": "logprob", "floor": 0.1})
    values: dict[str, object] = {
        "made": "2026-11-29T00:00:00+00:00",
        "judge": judge,
        "templates": HASH,
        "constitution": "c@1.0.0",
        "constitution_hash": HASH,
        "principles": {"good": HASH},
        "data": CertifiedData(sha256=HASH, items=300, prompts=300, labels=900, annotators=3),
        "code": {"version": "1", "sha256": HASH},
        "figures": figures,
        "covers": Coverage(scripts=("Latin",), characters=(10, 900), turns=1, words=("rivers",)),
        "not_covered": ("Anything else.",),
    }
    return Certificate.model_validate(values | changed)


def origin(**changed: str | None) -> RowsOrigin:
    values: dict[str, str | None] = {
        "source": "ai",
        "judge": "judge",
        "mode": "logprob",
        "constitution_hash": HASH,
        "templates": HASH,
    }
    return RowsOrigin(**(values | changed), build=None)


def test_identity_is_content_without_the_date(tmp_path: Path) -> None:
    one = certificate()
    assert one.sha256 == certificate(made="2027-01-01T00:00:00+00:00").sha256
    assert one.sha256 != certificate(templates=OTHER).sha256
    (tmp_path / FILE).write_text(one.text(), encoding="utf-8")
    assert read_certificate(tmp_path) == read_certificate(tmp_path / FILE) == one


@pytest.mark.parametrize(
    ("what", "changed"),
    [
        ("weights", JudgeBuild.of(OTHER, (), {"name": "logprob", "floor": 0.1}, None)),
        ("settings", JudgeBuild.of(HASH, [["dtype", "bfloat16"]], {"name": "logprob", "floor": 0.1}, None)),
        ("options of the mode", JudgeBuild.of(HASH, (), {"name": "logprob", "floor": 0.2}, HASH)),
        ("code", JudgeBuild.of(HASH, (), {"name": "logprob", "floor": 0.1}, OTHER)),
    ],
)
def test_what_changed_behind_a_judge_s_name_voids_it(what: str, changed: JudgeBuild) -> None:
    for code in (HASH, None):
        same = JudgeBuild.of(HASH, [], {"floor": 0.1, "name": "logprob"}, code)
        require(certificate(), {}, [replace(origin(), build=same)], "here")
    with pytest.raises(InputError, match=f"of another judge: {what}: "):
        require(certificate(), {}, [replace(origin(), build=changed)], "here")


def run_folder(folder: Path, jury: object) -> Path:
    """A run's pairs and its manifest, as far as certificates read it."""
    row = {"prompt": "a", "judge": "judge", "mode": "logprob", "source": "ai"}
    (folder / "pairs.jsonl").write_text(json.dumps(row) + "\n")
    manifest = {"config": {"jury": jury}, "code": {"sha256": HASH}, "exports": {"pairs": {"file": "pairs.jsonl"}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder / "pairs.jsonl"


SEAT = {"judge": {"name": "judge", "revision": OTHER, "settings": []}, "mode": {"name": "logprob", "floor": 0.1}}


def test_a_run_s_manifest_says_what_its_judge_was_made_of(tmp_path: Path) -> None:
    file = run_folder(tmp_path, [SEAT])
    build = JudgeBuild.of(OTHER, (), {"name": "logprob", "floor": 0.1}, HASH)
    assert [one.build for one in origins(str(file))] == [build]
    other = tmp_path / "exported.jsonl"
    other.write_text(file.read_text())
    assert [one.build for one in origins(str(other))] == [None], "the manifest is of the run's own tables"
    run_folder(tmp_path, [SEAT, SEAT])
    assert [one.build for one in origins(str(file))] == [None], "a jury has no certificate"
    run_folder(tmp_path, [{"judge": {}}])
    with pytest.raises(InputError, match="does not say which judge labelled"):
        origins(str(file))
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        origins(str(file))


def test_what_was_edited_is_refused(tmp_path: Path) -> None:
    content = json.loads(certificate().text())
    content["figures"]["accuracy"]["low"] = 0.99
    with pytest.raises(InputError, match="changed after it was made"):
        certificate_of(content, "here")
    deep = "[" * 100_000
    for broken, problem in (
        ("{", "not JSON"),
        (deep, "not JSON"),
        ("[]", "no certificate"),
        ('{"sha256": "x"}', "no certificate"),
    ):
        (tmp_path / FILE).write_text(broken)
        with pytest.raises(InputError, match=problem):
            read_certificate(tmp_path)
    with pytest.raises(InputError, match="there is no certificate"):
        read_certificate(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("bounds", "refused"),
    [
        ({"accuracy": 0.75, "calibration_error": 0.09, "leaning_to_length": 0.2}, None),
        ({"accuracy": 0.76}, "accuracy has to be at least 0.76: it is 0.8 .n = 300., and the worse end"),
        ({"calibration_error": 0.08}, "has to be at most 0.08"),
        ({"leaning_to_length": 0.19}, "has to be at most 0.19"),
        ({"retest_spread": 1.0}, "nothing is known of its limits"),
        ({"acuracy": 0.5}, "no figure 'acuracy'"),
        ({"accuracy": 70}, "70 is no bound of accuracy, which is between 0 and 1"),
        ({"calibration_error": 5}, "5 is no bound of calibration_error"),
        ({"leaning_to_length": -0.1}, "-0.1 is no bound of leaning_to_length"),
    ],
)
def test_bounds_are_held_against_the_worse_end(bounds: dict[str, float], refused: str | None) -> None:
    if refused is None:
        require(certificate(), bounds, [origin()], "here")
        return
    with pytest.raises(InputError, match=refused):
        require(certificate(), bounds, [origin()], "here")


@pytest.mark.parametrize("name", ["judge", "mode", "constitution_hash", "templates"])
def test_a_certificate_of_another_judge_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="of another judge"):
        require(certificate(), {}, [origin(), origin(**{name: OTHER})], "here")


def test_people_need_none_and_nobody_is_not_a_person() -> None:
    require(certificate(), {}, [origin(source="human", judge=None, mode=None)], "here")
    with pytest.raises(InputError, match="don't say which judge"):
        require(certificate(), {}, [origin(source=None, judge=None)], "here")


def test_origins_of_rows(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "judge": "j", "mode": "logprob", "constitution_hash": HASH, "templates": OTHER, "source": "ai"},
        {"prompt": "b", "judge": "j", "mode": "logprob", "constitution_hash": HASH, "templates": OTHER, "source": "ai"},
        {"prompt": "c", "sources": ["human"], "annotators": ["ann"]},
        {"prompt": "d"},
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    by_rows = origins(str(tmp_path / "pairs.jsonl"))
    assert by_rows == (
        RowsOrigin("ai", "j", "logprob", HASH, OTHER),
        RowsOrigin("human", None, None, None, None),
        RowsOrigin(None, None, None, None, None),
    )


def test_what_is_covered_is_told_from_the_texts() -> None:
    covers = binding.coverage([prompt("Which rivers are long?")] * 20, ["word " * n for n in range(1, 41)])
    assert covers.scripts == ("Latin",) and covers.turns == 1 and "rivers" in covers.words
    assert 10 <= covers.characters[0] <= 20 and 185 <= covers.characters[1] <= 200
    assert binding.script("Привет, мир") == "Cyrillic" and binding.script("123") == ""
    said = " ".join(binding.not_covered(covers, {"helpful"}))
    assert "Latin" in said and "helpful" in said and "more than one turn" in said


def test_the_code_is_hashed_as_it_is() -> None:
    assert binding.code() == binding.code() and len(binding.code()["sha256"]) == 64
    assert len(binding.templates_digest()) == 64

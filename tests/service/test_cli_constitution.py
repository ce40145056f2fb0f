"""``cai constitution``, as people call it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from constitution import InputError, load
from constitution.versions import publish
from service.cli.constitution import app
from tests.constitution.samples import principle, write


def cai(*args: str | Path) -> str:
    """Run one command, and return what it prints. InputError flies: the `cai` command itself catches it."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_list_names_what_ships() -> None:
    lines = cai("list").splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["harmlessness@1.0.0", "12"],
        ["harmlessness@1.1.0", "12"],
        ["helpfulness@1.0.0", "16"],
        ["hhh@1.0.0", "38"],
        ["honesty@1.0.0", "10"],
    ]
    entries = json.loads(cai("list", "--json"))
    assert entries[3] == {
        "name": "hhh",
        "version": "1.0.0",
        "title": "Harmless, honest, helpful",
        "principles": 38,
        "hash": load("hhh").digest,
    }


def test_show_prints_a_file_or_a_name(tmp_path: Path) -> None:
    for output in (cai("show", write(tmp_path)), cai("show", write(tmp_path, principles=[principle()]))):
        assert "demo@1.0.0" in output
        assert "\nbe-kind  The title of be-kind.\n" in output
        assert "\n  compare   The compare of be-kind.\n" in output
    assert "includes harmlessness@1.1.0, honesty@1.0.0, helpfulness@1.0.0" in cai("show", "hhh@1.0.0")


def test_show_tells_what_decides_about_a_principle(tmp_path: Path) -> None:
    group = {"id": "north", "agrees": 3, "disagrees": 1}
    fields: dict[str, Any] = {"weight": 2, "priority": 3, "tags": ["x"], "applies_to": ["coding"], "group": group}
    line = "  priority 3 · weight 2 · #x · for prompts tagged coding · north: 75.0% agree\n"
    assert line in cai("show", write(tmp_path, principles=[principle(**fields)]))


def test_show_as_json_has_every_hash() -> None:
    shown, constitution = json.loads(cai("show", "honesty", "--json")), load("honesty")
    assert (shown["ref"], shown["hash"]) == ("honesty@1.0.0", constitution.digest)
    assert [p["hash"] for p in shown["principles"]] == [p.digest for p in constitution.principles]
    assert shown["principles"][0]["examples"][0]["prompt"] == constitution.principles[0].examples[0].prompt


def test_lint_warns_without_failing(tmp_path: Path) -> None:
    assert cai("lint", "hhh") == "hhh@1.0.0: 38 principles, 0 warnings\n"
    output = cai("lint", write(tmp_path, principles=[principle(compare="It is kind.")]))
    assert "warning: be-kind.compare: doesn't ask to choose" in output
    assert "warning: demo@1.0.0: no `opposite` in be-kind" in output
    assert output.endswith("demo@1.0.0: 1 principle, 2 warnings\n")


def test_diff_is_plain_when_piped() -> None:
    output = cai("diff", "harmlessness@1.0.0", "harmlessness@1.1.0")
    assert "\x1b" not in output
    lines = output.splitlines()
    assert lines[0] == "harmlessness@1.0.0 -> harmlessness@1.1.0"
    assert "+ ordinary-questions  added: Ordinary questions get answers" in lines
    assert "- clean-language  removed: Clean language" in lines
    assert "~ refuse-kindly  reworded" in lines
    assert "    weight: [-1-][+3+]" in lines
    assert any(
        line.startswith("    statement: [-The-][+Where the+] response[+ declines, it+] says no [-pol") for line in lines
    )
    assert lines[-1] == (
        "1 added, 1 removed, 1 reworded, 1 reweighted, 9 unchanged; "
        "votes under 2 principles of harmlessness@1.0.0 are stale"
    )


def test_diff_takes_files_and_prints_json(tmp_path: Path) -> None:
    a, b = write(tmp_path, "a.yaml"), write(tmp_path, "b.yaml", principles=[principle(critique="Other.")])
    difference = json.loads(cai("diff", a, b, "--json"))
    assert difference["a"] == {"ref": "demo@1.0.0", "hash": load(a).digest}
    assert difference["b"]["hash"] == load(b).digest
    assert difference["reworded"] == [
        {"id": "be-kind", "fields": [{"field": "critique", "before": "The critique of be-kind.", "after": "Other."}]}
    ]
    assert difference["stale_digests"] == [load(a).principles[0].digest]
    assert "stale_votes" not in difference


def test_diff_counts_the_stale_votes_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = {p.digest for p in load("harmlessness@1.0.0").principles} - {
        p.digest for p in load("harmlessness").principles
    }
    asked: list[tuple[Path, set[str]]] = []

    def count(directory: Path, digests: set[str]) -> int:
        asked.append((directory, digests))
        return 1234

    monkeypatch.setattr("critic.run.reading.count_votes", count)
    arguments = ("diff", "harmlessness@1.0.0", "harmlessness@1.1.0", "--run", tmp_path)
    assert f"1,234 stored votes in {tmp_path} made under principles that harmlessness@1.1.0 doesn't have" in cai(
        *arguments
    )
    assert json.loads(cai(*arguments, "--json"))["stale_votes"] == 1234
    assert asked == [(tmp_path, stale)] * 2


def test_publish_then_verify_then_list(tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert cai("publish", write(tmp_path), "--into", root) == f"published {root / 'demo' / '1.0.0.yaml'}\n"
    assert cai("verify", "--root", root) == f"1 published file as published in {root}\n"
    assert cai("list", "--root", root).startswith("demo@1.0.0    1 principles")
    with pytest.raises(InputError, match="published already, with other content"):
        cai("publish", write(tmp_path, title="Other"), "--into", root)


def test_verify_names_what_changed(tmp_path: Path) -> None:
    publish(write(tmp_path), tmp_path / "root").write_text("changed")
    with pytest.raises(InputError, match=r"demo/1\.0\.0\.yaml: changed since it was published"):
        cai("verify", "--root", tmp_path / "root")


def test_verify_of_what_ships() -> None:
    assert cai("verify").startswith("5 published files as published in ")


def test_import_writes_a_file_that_loads_and_says_what_it_left_out(tmp_path: Path) -> None:
    source, out = tmp_path / "list.json", tmp_path / "out.yaml"
    source.write_text(json.dumps([{"critique_request": "What is wrong?", "revision_request": "Fix it.", "id": 7}]))
    arguments = ("import", "langchain", source, "--out", out, "--name", "mine", "--version", "0.2.0")
    assert cai(*arguments) == (
        f"wrote {out}: 1 principle\nnot carried over: 1 key 'id': a principle has no such field\n"
    )
    assert load(out).ref == "mine@0.2.0"
    with pytest.raises(InputError, match="this file exists"):
        cai(*arguments)


def test_import_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    rest = (tmp_path / "x", "--out", tmp_path / "y", "--name", "n")
    with pytest.raises(InputError, match="expected one of cai-paper, langchain, polis"):
        cai("import", "yaml", *rest)
    with pytest.raises(InputError, match="--min-support: langchain files hold no support"):
        cai("import", "langchain", *rest, "--min-support", "0.5")


def test_import_of_a_poll_with_a_threshold(cai_data: Path, tmp_path: Path) -> None:
    files = sorted((cai_data / "ccai").glob("*.csv"))
    output = cai("import", "polis", *files, "--out", tmp_path / "p.yaml", "--name", "p", "--min-support", "0.9")
    assert output.startswith(f"wrote {tmp_path / 'p.yaml'}: 136 principles\n")
    assert len(load(tmp_path / "p.yaml").principles) == 136

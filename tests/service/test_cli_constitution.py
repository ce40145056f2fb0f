"""``cai constitution``, as people call it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from constitution import InputError, load
from constitution.library import shipped
from constitution.versions import publish
from service.cli.commands.sources.constitution import app
from tests.constitution.samples import principle, write
from tests.critic.run.run_bench import Bench


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
        "folder": str(shipped()),
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
    expected = [p.digest for p in constitution.principles]
    assert [p["hash"] for p in shown["principles"]] == expected
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
        "--run DIR says what that makes of a run's judgements"
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
    assert "run" not in difference


def test_diff_names_the_judgements_of_a_run_that_turn(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.prompts = bench.prompts[:4]
    bench.run(settings={"revisions": 0})
    old = tmp_path / "c.yaml"
    bench.constitution["version"] = "1.1.0"
    bench.constitution["principles"][0]["weight"] = 500
    new = tmp_path / "new.yaml"
    new.write_text(yaml.safe_dump(bench.constitution))
    told = cai("diff", old, new, "--run", bench.out)
    seen = json.loads(cai("diff", old, new, "--run", bench.out, "--json"))["run"]
    assert seen["stay"] + len(seen["flip"]) == 4 and seen["flip"] and not seen["may_flip"] and not seen["questions"]
    assert f"{seen['stay']} stay, {len(seen['flip'])} flip, 0 may flip\n  to ask again: 0 questions" in told
    for one in seen["flip"]:
        line = f"flips: row {one['row']} (p.txt:{one['row'] + 1}), response 0 against 1: {one['before']:.3f}, then "
        assert line + f"{one['low']:.3f}\n" in told


def test_diff_says_between_what_a_judgement_will_lie(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.prompts = bench.prompts[:2]
    bench.run(settings={"revisions": 0})
    for one in bench.constitution["principles"]:
        one["compare"] = "Which is another?"
    new = tmp_path / "new.yaml"
    new.write_text(yaml.safe_dump(bench.constitution))
    told = cai("diff", tmp_path / "c.yaml", new, "--run", bench.out)
    assert "0 stay, 0 flip, 2 may flip\n  to ask again: 8 questions, 0 rounds of revision" in told
    assert "then 0.002 to 0.998 (4 questions to ask)" in told  # the logistic of -6 and of 6


def test_publish_then_verify_then_list(tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert cai("publish", write(tmp_path), "--into", root) == f"published {root / 'demo' / '1.0.0.yaml'}\n"
    assert f"1 published file as published in {root}\n" in cai("verify", "--root", root)
    listed = cai("list", "--root", root).splitlines()
    assert listed[0].startswith("demo@1.0.0") and listed[0].endswith(f"({root}/)")
    assert any(line.startswith("hhh@1.0.0") for line in listed)  # names of all folders can be used together
    with pytest.raises(InputError, match="published already, with other content"):
        cai("publish", write(tmp_path, title="Other"), "--into", root)


def test_a_constitution_is_found_by_its_name_wherever_it_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAI_CONSTITUTIONS", raising=False)
    (tmp_path / "elsewhere").mkdir()
    for folder, version in (("published", "1.0.0"), ("elsewhere/named", "2.0.0"), ("elsewhere/root", "3.0.0")):
        cai("publish", write(tmp_path, version=version), "--into", folder)
    assert cai("show", "demo").splitlines()[0].endswith("demo@1.0.0")
    monkeypatch.setenv("CAI_CONSTITUTIONS", str(tmp_path / "elsewhere/named"))
    assert cai("show", "demo").splitlines()[0].endswith("demo@2.0.0")
    assert cai("show", "demo", "--root", "elsewhere/root").splitlines()[0].endswith("demo@3.0.0")
    assert cai("show", "demo@1.0.0", "--root", "elsewhere/root").splitlines()[0].endswith("demo@1.0.0")
    assert cai("diff", "demo@1.0.0", "demo@2.0.0").startswith("demo@1.0.0 -> demo@2.0.0")
    assert os.environ["CAI_CONSTITUTIONS"] == str(tmp_path / "elsewhere/named")  # --root was that command's own
    with pytest.raises(InputError, match=r"did you mean 'demo'(.|\n)*looked in: .*/named/, published/, those shipped"):
        cai("show", "deom")


def test_a_folder_called_published_that_is_none_of_ours_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "published/hhh").mkdir(parents=True)
    (tmp_path / "published/hhh/9.0.0.yaml").write_text("a blog")
    assert cai("show", "hhh").splitlines()[0].endswith("hhh@1.0.0")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="--root"):
        cai("list", "--root", tmp_path / "none")
    monkeypatch.setenv("CAI_CONSTITUTIONS", str(tmp_path / "none"))
    with pytest.raises(InputError, match="CAI_CONSTITUTIONS"):
        cai("list")


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

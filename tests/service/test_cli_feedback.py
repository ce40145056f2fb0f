"""``cai feedback import`` and ``export`` against a real server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from base.errors import InputError
from benchmarks.serving import Served, serving
from critic.feedback import Feedback
from service.cli.commands.server.feedback import app
from service.client import Client
from tests import warm
from tests.service.formats.test_offers import run_folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("server"), begin=warm.forked, worker=False) as server:
        yield server


def cai(served: Served, *arguments: str) -> Any:
    server = f"http://127.0.0.1:{served.port}"
    return CliRunner().invoke(app, [*arguments, "--server", server, "--key", served.key])


def label(number: int, annotator: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": "comparison",
        "prompt": {"messages": [{"role": "user", "content": f"Question {number}?"}]},
        "responses": [{"text": "yes", "model": "m"}, {"text": "no", "model": "m"}],
        "label": {"choice": "first", "outcome": "preference"},
        "source": "human",
        "annotator": annotator,
        **more,
    }


def written(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_file_goes_there_once_and_comes_back(served: Served, tmp_path: Path) -> None:
    rows = [label(i, f"person {i % 3}", group="nurses") for i in range(1203)]
    rows.append(label(5, "a judge", source="ai"))
    file = written(tmp_path / "labels.jsonl", rows)
    done = cai(served, "import", str(file))
    assert done.exit_code == 0 and "stored: 1,204 labels" in done.output, done.output
    for again in ((), ("--source", "ai")):
        done = cai(served, "import", str(file), *again)
        assert done.exit_code == 0, done.output
        assert "stored: 0 labels" in done.output and "stored before: 1,204 labels" in done.output
    back = tmp_path / "back.jsonl"
    done = cai(served, "export", str(back), "--group", "nurses")
    assert done.exit_code == 0 and "1,203 rows of feedback" in done.output, done.output
    labels = [Feedback.model_validate_json(line) for line in back.read_text().splitlines()]
    expected = [f"Question {i}?" for i in range(1203)]
    assert [one.prompt.messages[0].content for one in labels] == expected
    with Client(f"http://127.0.0.1:{served.port}", served.key) as client:
        names = {person.id: person.name for person in client.annotators()}
    assert [names[one.annotator or ""] for one in labels[:4]] == ["person 0", "person 1", "person 2", "person 0"]
    again = cai(served, "import", str(back))  # its annotators are ids now, and known
    assert again.exit_code == 0 and "stored: 0 labels" in again.output, again.output
    with Client(f"http://127.0.0.1:{served.port}", served.key) as client:
        assert len(list(client.annotators())) == len(names)


def test_bad_rows_are_named_and_cost_themselves_only(served: Served, tmp_path: Path) -> None:
    rows = [label(1, "x"), label(2, "x", constitution="nothing@1.0.0"), {"kind": "comparison", "label": {}}]
    done = cai(served, "import", str(written(tmp_path / "mixed.jsonl", rows)))
    assert done.exit_code == 3
    assert "stored: 1 labels" in done.output and "refused: 2 rows" in done.output
    assert "mixed.jsonl:2: constitution: there is no published constitution" in done.output
    assert "mixed.jsonl:3: " in done.output
    only = cai(served, "import", str(written(tmp_path / "bad.jsonl", rows[1:2])))
    assert only.exit_code == 3 and "stored: 0 labels" in only.output


def test_what_can_not_be_done_says_why(served: Served, tmp_path: Path) -> None:
    file = str(written(tmp_path / "labels.jsonl", [label(1, "x")]))
    for arguments, word in (
        (("import", str(tmp_path / "nothing.jsonl")), "no such file"),
        (("import", file, "--format", "nonsense"), "Known formats: annotated-pairs"),
        (("import", file, "--source", "god"), "human or ai"),
        (("import", file, "--options", "["), "no JSON object"),
        (("export", str(tmp_path / "x"), "--format", "oasst"), "no place for pairs"),
        (("export", str(tmp_path / "x"), "--format", "trl", "--table", "chats"), "there is no table 'chats'"),
    ):
        done = cai(served, *arguments)
        assert isinstance(done.exception, InputError) and word in str(done.exception), done.output
    done = CliRunner().invoke(app, ["import", file, "--server", f"http://127.0.0.1:{served.port}", "--key", "x"])
    assert isinstance(done.exception, InputError) and "no API key of this service" in str(done.exception)
    assert not (tmp_path / "x").exists()


def test_shapes_of_the_field_are_imported_under_other_names(served: Served, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"q": "Name a star.", "human_ref_A": "Vega.", "human_ref_B": "A lamp.", "labels": 1},
        {"q": "Name a planet.", "human_ref_A": "A cup.", "human_ref_B": "Mars.", "labels": None},
    ]
    done = cai(served, "import", str(written(tmp_path / "shp.jsonl", rows)), "--column", "history=q")
    assert done.exit_code == 3, done.output
    assert "stored: 1 labels" in done.output and "shp.jsonl:2: labels holds nothing" in done.output


def test_a_runs_labels_are_stored_once_whichever_of_its_files_brings_them(served: Served, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    first = cai(served, "import", str(folder / "pairs.jsonl"), "--source", "ai")
    assert "refused: 3 rows" in first.output and "constitution_hash" in first.output  # another harmlessness@1.0.0
    for name in ("pairs", "feedback"):
        rows = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
        written(tmp_path / f"{name}.jsonl", [row | {"constitution": None, "constitution_hash": None} for row in rows])
    done = cai(served, "import", str(tmp_path / "pairs.jsonl"))
    assert "stored: 3 labels" in done.output, done.output
    done = cai(served, "import", str(tmp_path / "feedback.jsonl"))  # with critiques and corrections
    assert "stored: 6 labels" in done.output and "stored before: 3 labels" in done.output, done.output


def test_equal_labels_of_people_without_names_are_as_many(served: Served, tmp_path: Path) -> None:
    thumbs = [
        {
            "kind": "thumbs",
            "prompt": {"messages": [{"role": "user", "content": "A hill?"}]},
            "responses": [{"text": "Yes.", "model": "m"}],
            "label": {"value": "up"},
            "source": "human",
        }
    ] * 600
    assert "stored: 600 labels" in cai(served, "import", str(written(tmp_path / "five.jsonl", thumbs))).output
    done = cai(served, "import", str(written(tmp_path / "more.jsonl", [*thumbs, thumbs[0]])))
    assert "stored: 1 labels" in done.output and "stored before: 600 labels" in done.output


def test_labels_come_out_as_trainers_take_them(served: Served, tmp_path: Path) -> None:
    rows = [label(n, "tess", group="tess") for n in range(3)] + [
        label(9, "tess", group="tess") | {"label": {"choice": "tie", "outcome": "tie"}}
    ]
    cai(served, "import", str(written(tmp_path / "labels.jsonl", rows)))
    out = tmp_path / "pairs.jsonl"
    done = cai(served, "export", str(out), "--format", "trl", "--group", "tess")
    assert done.exit_code == 0 and "3 rows of pairs" in done.output and "left out: 1 (tie)" in done.output, done.output
    assert json.loads(out.read_text().splitlines()[0])["chosen"] == [{"role": "assistant", "content": "yes"}]
    done = cai(
        served, "export", str(tmp_path / "kto.jsonl"), "--format", "trl", "--group", "tess", "--table", "ratings"
    )
    assert isinstance(done.exception, InputError) and "no rows of ratings to write" in str(done.exception)

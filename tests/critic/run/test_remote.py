"""Inputs by address: over HTTP from a real server, and what is said where that can't be done."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uvicorn
import yaml
from fastapi import FastAPI, HTTPException
from fastapi.staticfiles import StaticFiles

from base.errors import InputError
from critic.files.inputs import read_prompts
from critic.files.remote import while_connected, without_secrets
from critic.records import Line
from critic.run.folder.store import RunStore
from critic.run.request import RunRequest
from critic.run.run import run
from tests.factories import small_constitution

LINES = '{"prompt": "first"}\nno JSON\n\n{"prompt": "second"}\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web")
    (folder / "p.jsonl").write_text(LINES)
    (folder / "p.txt").write_text("first\nsecond\n")
    (folder / "p.csv").write_text('prompt\n"first\nline"\nsecond\n')
    (folder / "p.json").write_text('["first", "second"]')
    pq.write_table(pa.table({"prompt": ["first", "second"]}), folder / "p.parquet")
    return folder


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[str]:
    """A server of those files, and its address."""
    app = FastAPI()

    @app.api_route("/refused/{name}", methods=["GET", "HEAD"])
    def refuse(name: str) -> None:
        raise HTTPException(403)

    app.mount("/", StaticFiles(directory=folder))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def texts(source: str) -> list[str]:
    """The prompts; what is quarantined by its reason."""
    read = read_prompts(source, max_chars=1000, truncate=False)
    return [one.item.prompt.messages[0].content if isinstance(one, Line) else one.reason for one in read]


def test_every_format_is_read_by_its_address(web: str, folder: Path) -> None:
    assert texts(f"{web}/p.jsonl") == ["first", "broken_line", "second"]
    assert texts(f"{web}/p.csv") == ["first\nline", "second"]
    for name in ("p.txt", "p.json", "p.parquet"):
        assert texts(f"{web}/{name}") == ["first", "second"], name
    assert texts(f"file://{folder}/p.jsonl") == ["first", "broken_line", "second"]


def test_a_signed_address_is_read_and_its_signature_told_nowhere(web: str) -> None:
    address = f"{web}/p.jsonl?signature=secret"
    assert texts(address) == ["first", "broken_line", "second"]
    assert all("secret" not in one.where for one in read_prompts(address, max_chars=9, truncate=False))
    with pytest.raises(InputError) as error:
        texts(f"{web}/none.jsonl?signature=secret")
    assert "none.jsonl: no such file" in str(error.value) and "secret" not in str(error.value)
    assert without_secrets("s3://me:secret@host/a.jsonl?b=secret") == "s3://***@host/a.jsonl"
    assert without_secrets("s3://me:sec@ret@host/a.jsonl") == "s3://***@host/a.jsonl"
    assert without_secrets("a folder/what?.jsonl") == "a folder/what?.jsonl"


def test_a_refusal_is_not_called_a_file_that_is_missing(web: str) -> None:
    """The server answers 403 below ``/refused``, and fsspec's words name the whole address."""
    with pytest.raises(InputError, match="403") as error:
        texts(f"{web}/refused/p.jsonl?signature=secret")
    assert "secret" not in str(error.value)


def test_a_run_reads_an_address_and_keeps_no_signature(web: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(small_constitution(1)))
    (tmp_path / "script.yaml").write_text("{}")
    spec = f"scripted:{tmp_path / 'script.yaml'}"
    request = RunRequest(str(tmp_path / "c.yaml"), f"{web}/p.jsonl?signature=secret", (spec,), spec)
    outcome = asyncio.run(run(request, tmp_path / "out"))
    assert (outcome.progress.rows, outcome.progress.quarantined) == (2, 1)
    again = asyncio.run(run(request, tmp_path / "out"))
    assert (again.progress.skipped, again.calls) == (2, 0)
    store = RunStore.open_existing(tmp_path / "out")
    assert store.config()["input"] == f"{web}/p.jsonl"
    store.close()
    assert not any(b"secret" in path.read_bytes() for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://bucket/p.jsonl", "Install s3fs"),
        ("nothing://host/p.jsonl", "nothing"),
        ("http://127.0.0.1:1/p.jsonl", "no such file"),
    ],
)
def test_what_cannot_be_read_is_said(address: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        texts(address)


def test_a_broken_connection_is_told_with_the_row() -> None:
    def rows() -> Iterator[int]:
        yield 1
        yield 2
        raise ConnectionResetError("gone")

    read = while_connected(rows(), "p.jsonl")
    assert [next(read), next(read)] == [1, 2]
    with pytest.raises(InputError, match=r"p\.jsonl, after row 2: can't be read on: gone"):
        next(read)

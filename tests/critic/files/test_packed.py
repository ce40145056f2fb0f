"""Files as their bytes come: packed, in other encodings, and made to fill a disk."""

import gzip
import io
import os
import threading
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
import pytest
import zstandard

from base.errors import InputError
from critic.files.containers import packed
from critic.files.shapes import naming
from critic.files.sources import open_source, source_name
from critic.rows import Broken, Raw

LINES = '{"prompt": "Wie heißt du?"}\n{"prompt": "Und ich?"}\n'
TEXTS = ["Wie heißt du?", "Und ich?"]


def prompts(path: Path | str) -> list[str]:
    rows = list(open_source(str(path), naming()).rows)
    return [row.columns["prompt"] if isinstance(row, Raw) else row.reason for row in rows]


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # else two workers name a test differently


def standard(data: bytes) -> bytes:
    """Two frames, one after the other, as ``cat`` of two files leaves them."""
    compress = zstandard.ZstdCompressor().compress
    return compress(data[:30]) + compress(data[30:])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be-mark", "utf-32"])
@pytest.mark.parametrize(("ending", "pack"), [("", bytes), (".gz", zipped), (".zst", standard)])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("in.jsonl", LINES),
        ("in.json", '[{"prompt": "Wie heißt du?"}, {"prompt": "Und ich?"}]'),
        ("in.txt", "Wie heißt du?\r\n\r\nUnd ich?"),
        ("in.csv", "prompt,tags\r\nWie heißt du?,a\r\nUnd ich?,\r\n"),
    ],
)
def test_every_packing_and_encoding_of_every_kind_holds_the_same(
    encoding: str, ending: str, pack: "type[bytes]", name: str, text: str, tmp_path: Path
) -> None:
    data = b"\xfe\xff" + text.encode("utf-16-be") if encoding == "utf-16-be-mark" else text.encode(encoding)
    (tmp_path / (name + ending)).write_bytes(pack(data))
    assert prompts(tmp_path / (name + ending)) == TEXTS


def test_a_place_in_a_packed_file_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(b'{"prompt": "a"}\n{"prompt": \n'))
    good, bad = open_source(str(tmp_path / "in.jsonl.gz")).rows
    assert (good.where, bad.where) == ("in.jsonl.gz:1", "in.jsonl.gz:2") and isinstance(bad, Broken)


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("in.jsonl.gz", zipped(LINES.encode())[:-12], "can't be unpacked"),
        ("in.jsonl.zst", standard(LINES.encode() * 99)[:40], "can't be unpacked"),
        ("in.jsonl.gz", b"plain text", "its first bytes say that it isn't"),
        ("in.jsonl.zst", b"plain text", "its first bytes say that it isn't"),
        ("in.jsonl", LINES.encode("utf-16-le"), "in an encoding that it doesn't name"),
        ("in.txt", zipped(zipped(b"text")), "binary"),
        ("in.jsonl", b"PAR1" + b"a" * 99, "Parquet ends in"),
    ],
)
def test_what_is_no_text_is_told_with_the_remedy(name: str, data: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match="binary" if "Parquet" in problem else problem) as caught:
        prompts(tmp_path / name)
    assert caught.value.where == name and caught.value.fix
    assert "Parquet" not in problem or problem in caught.value.fix


def test_half_a_character_costs_its_row_only(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes("one\ntwo\n".encode("utf-16") + b"\x00\xd8\x41")
    assert prompts(tmp_path / "in.txt") == ["one", "two", "not_utf8"]


@pytest.mark.parametrize(("ending", "pack"), [(".gz", zipped), (".zst", zstandard.ZstdCompressor().compress)])
def test_an_archive_that_unpacks_to_more_than_a_bound_is_stopped(
    ending: str, pack: "type[bytes]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "MOST_UNPACKED", 2**20)
    path = tmp_path / f"in.json{ending}"
    path.write_bytes(pack(b'{"prompt": "' + b"a" * 2**23 + b'"}'))
    with pytest.raises(InputError, match="unpacks to more than"):
        prompts(path)
    # Text packs a few times; what packs no better is no bomb, however large it is.
    path.write_bytes(pack(b'{"prompt": "' + os.urandom(2**20).hex().encode() + b'"}'))
    assert len(prompts(path)[0]) == 2**21


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (LINES, TEXTS),
        ("one\ntwo\n", ["one", "two"]),
        ("Prompt;Tags\none;a\ntwo;\n", ["one", "two"]),
        ("question, please\ntwo\n", ["question, please", "two"]),
    ],
)
def test_a_pipe_is_read_once(data: str, texts: list[str], tmp_path: Path) -> None:
    """Such as ``<(zcat file)``: no ending says what it holds, and it can't be opened twice."""
    pipe = tmp_path / "63"
    os.mkfifo(pipe)
    writing = threading.Thread(target=pipe.write_bytes, args=(data.encode(),))
    writing.start()
    read = prompts(pipe)
    writing.join()
    assert read == texts
    assert source_name(str(pipe)) == "pipe"


@pytest.mark.parametrize("pack", [zipped, standard])
@pytest.mark.parametrize("piece", [1, 3, 10**6])
def test_a_packed_pipe_is_told_by_its_first_bytes(pack: "type[bytes]", piece: int, tmp_path: Path) -> None:
    """Such as ``cat file.gz | cai ...``; a pipe gives what its writer has written, a byte at a time if it is slow."""
    pipe = tmp_path / "63"
    os.mkfifo(pipe)
    data = pack(LINES.encode("utf-16"))

    def write() -> None:
        with pipe.open("wb", buffering=0) as file:
            for start in range(0, len(data), piece):
                file.write(data[start : start + piece])

    writing = threading.Thread(target=write)
    writing.start()
    read = prompts(pipe)
    writing.join(10)
    assert read == TEXTS


def test_a_packed_file_needs_no_ending_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(zipped(LINES.encode()))
    assert prompts(tmp_path / "in.jsonl") == TEXTS


def test_a_bomb_through_a_pipe_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "MOST_UNPACKED", 2**20)
    pipe = tmp_path / "63"
    os.mkfifo(pipe)
    bomb = zipped(b'{"prompt": "' + b"a" * 2**23 + b'"}')
    writing = threading.Thread(target=pipe.write_bytes, args=(bomb,))
    writing.start()
    with pytest.raises(InputError, match="unpacks to more than"):
        prompts(pipe)
    writing.join(10)


@pytest.mark.parametrize("name", ["in.jsonl", "in.csv", "in.txt", "in.jsonl.gz", "in.parquet"])
@pytest.mark.parametrize("change", ["grows", "is replaced", "is cut"])
def test_a_file_that_changes_while_it_is_read_is_told(name: str, change: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "in.parquet":
        parquet.write_table(pyarrow.table({"prompt": ["a", "b"]}), path)
    else:
        text = b"prompt,tags\na,x\nb,y\n" if name == "in.csv" else b'{"prompt": "a"}\n{"prompt": "b"}\n'
        path.write_bytes(zipped(text) if name.endswith(".gz") else text)
    rows = open_source(str(path), naming()).rows
    next(rows)
    content = path.read_bytes()
    if change == "is replaced":
        (tmp_path / "new").write_bytes(content)
        (tmp_path / "new").replace(path)
    elif change == "grows":
        with path.open("ab") as file:
            file.write(zipped(b"\n") if name.endswith(".gz") else b"\n")
    else:
        os.truncate(path, len(content) - 1)
    with pytest.raises(InputError, match="changed while it was read") as caught:
        list(rows)
    assert caught.value.where == name and caught.value.fix


@pytest.mark.parametrize(
    "data",
    [
        '[\n  {"prompt": "Wie heißt du?"},\n  {"prompt": "Und ich?"}\n]\n',
        '[{"prompt": "Wie heißt du?"}, {"prompt": "Und ich?"}]',
        '{\n "rows": [{"prompt": "Wie heißt du?"},\n {"prompt": "Und ich?"}]}',
        '["Wie heißt du?",\n "Und ich?"]',
        '[{"prompt": "Wie heißt du?"},\n{"prompt": "Und ich?"}]',
    ],
)
def test_json_of_several_lines_through_a_pipe_is_rows(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken for text, a prompt a line: ``[`` was the first."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data.encode())))
    assert prompts("-") == TEXTS


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        ("[INST] Hi [/INST]\n[a]\n", ["[INST] Hi [/INST]", "[a]"]),
        ('[{"role": "user", "content": "Hi"}]\n[{"role": "user", "content": "Ho"}]\n', None),
        ("[\nnot JSON\n", ["[", "not JSON"]),
    ],
)
def test_what_only_looks_like_json_through_a_pipe_is_not_changed(
    data: str, texts: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data.encode())))
    if texts is not None:
        assert prompts("-") == texts
    else:
        rows = list(open_source("-", naming()).rows)
        assert [row.columns["messages"][0]["content"] for row in rows if isinstance(row, Raw)] == ["Hi", "Ho"]


def test_a_file_is_closed_when_its_rows_are_left(tmp_path: Path) -> None:
    """Warnings are errors here: an open file would be one when the rows are thrown away."""
    for name in ("in.jsonl", "in.csv"):
        (tmp_path / name).write_text("prompt\n" * 9)
        rows = iter(open_source(str(tmp_path / name)).rows)
        next(rows)
        del rows

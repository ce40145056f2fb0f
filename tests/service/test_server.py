"""A real server with few descriptors, over loopback: whatever is left unfinished, whoever asks properly is served."""

import asyncio
import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.serving import KeptConnection, Served, serving
from tests.service.calls import comparison

pytestmark = pytest.mark.slow

DESCRIPTORS = 450
HALF = b"POST /v1/feedback HTTP/1.1\r\nhost: x\r\nx-half: "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))  # the server's, which inherits it
    try:
        context = serving(folder, worker=False, body_seconds=0.5, max_text_bytes=1000)
        server = context.__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        yield server
    finally:
        context.__exit__(None, None, None)


async def give(served: Served, number: int) -> int:
    async with KeptConnection(served) as connection:
        status, _ = await connection.send("POST", "/v1/feedback", json.dumps(comparison(f"{number}?")).encode())
        return status


async def test_half_requests_on_more_connections_than_there_are_keep_nobody_out(served: Served, folder: Path) -> None:
    half = []
    for number in range(DESCRIPTORS + 50):
        pair = await asyncio.open_connection("127.0.0.1", served.port)
        pair[1].write(HALF)
        half.append(pair)
        if number % 40 == 0:
            assert await give(served, number) == 201
    for _, writer in half:
        writer.close()
    assert await give(served, -1) == 201
    assert (folder / "server.log").stat().st_size < 10_000


async def test_bad_requests_do_not_fill_the_log(served: Served, folder: Path) -> None:
    for _ in range(200):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"this is no request\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        writer.close()
    log = (folder / "server.log").read_text()
    assert 1 <= log.count("Invalid HTTP request received") <= 10


async def test_half_a_body_is_waited_for_so_long_and_only_from_who_has_a_key(served: Served) -> None:
    for key, status in ((served.key, b"408"), ("cai_0123456789ab_wrong", b"401")):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        head = f"POST /v1/feedback HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: 100000\r\n\r\n"
        writer.write(head.encode() + b'{"kind":')
        assert (await asyncio.wait_for(reader.readline(), 30)).split()[1] == status
        writer.close()


async def test_a_setting_of_the_file_bounds_texts(served: Served) -> None:
    async with KeptConnection(served) as connection:
        status, answer = await connection.send("POST", "/v1/feedback", json.dumps(comparison("x" * 1001)).encode())
    assert status == 422 and b"max_text_bytes" in answer

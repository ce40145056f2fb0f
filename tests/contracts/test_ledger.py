"""What every home of a ledger promises. A new home adds one line to `homes`."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from base.errors import InputError
from critic.calls.ledger import Ledger
from critic.run.folder.store import RunStore

KEY, OTHER = "ab" * 32, "cd" * 32


def sqlite_file(folder: Path) -> RunStore:
    return RunStore.open(folder / "run", {}, extend=False)


homes: list[Callable[[Path], RunStore]] = [sqlite_file]


@pytest.fixture(params=homes, ids=lambda home: home.__name__)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunStore]:
    home = request.param(tmp_path)
    yield home
    home.close()


async def test_what_was_committed_is_there(ledger: Ledger) -> None:
    assert ledger.get(KEY) is None
    answer = ["text with \u2028 and \x00 and \U0001f600", None, -1e9, 0.1 + 0.2, 7]
    await ledger.commit(KEY, answer, 0.0)
    assert ledger.get(KEY) == answer
    assert ledger.get(OTHER) is None


async def test_the_first_answer_stands(ledger: Ledger) -> None:
    await ledger.commit(KEY, ["first"], 0.0)
    await ledger.commit(KEY, ["second"], 0.0)
    assert ledger.get(KEY) == ["first"]


async def test_one_claim_a_key_until_it_is_settled(ledger: Ledger) -> None:
    assert ledger.claim(KEY)
    assert not ledger.claim(KEY)
    assert ledger.claim(OTHER)
    waiting = asyncio.create_task(ledger.settled(KEY))
    await asyncio.sleep(0)
    assert not waiting.done()
    await ledger.commit(KEY, ["answer"], 0.0)
    await asyncio.wait_for(waiting, 600)
    ledger.release(OTHER)
    assert ledger.claim(OTHER)


async def test_a_cancelled_wait_leaves_the_claim_alone(ledger: Ledger) -> None:
    assert ledger.claim(KEY)
    waiting = asyncio.create_task(ledger.settled(KEY))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    other = asyncio.create_task(ledger.settled(KEY))
    await asyncio.sleep(0)
    assert not other.done()
    ledger.release(KEY)
    await asyncio.wait_for(other, 600)


async def test_many_commits_at_once(ledger: Ledger) -> None:
    keys = [f"{i:064x}" for i in range(3000)]
    await asyncio.gather(*(ledger.commit(key, [i], 0.0) for i, key in enumerate(keys)))
    expected = [[i] for i in range(3000)]
    assert [ledger.get(key) for key in keys] == expected


async def test_costs_add_up_and_outlive_the_process(ledger: RunStore, tmp_path: Path) -> None:
    await ledger.commit(KEY, ["answer"], 0.5)
    await ledger.commit(OTHER, ["answer"], 0.25)
    await ledger.commit(OTHER, ["the same, paid again"], 0.25)
    ledger.close()
    again = sqlite_file(tmp_path)
    assert (again.cost(), again.calls(), again.get(OTHER)) == (1.0, 2, ["answer"])
    again.close()


def test_a_ledger_of_another_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    sqlite_file(tmp_path).close()
    path = tmp_path / "run" / "run.db"
    with closing(sqlite3.connect(path)) as older, older:
        older.executescript("DROP TABLE calls; UPDATE meta SET value = '1' WHERE key = 'schema'")
    for opened in (sqlite_file, lambda folder: RunStore.open_existing(folder / "run")):
        with pytest.raises(InputError, match=r"(?s)another version of cai .*schema 1, not 4.*name a new directory"):
            opened(tmp_path)
    with closing(sqlite3.connect(path)) as left:
        assert not left.execute("SELECT 1 FROM sqlite_master WHERE name = 'calls'").fetchall()

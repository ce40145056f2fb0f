"""What every home of a ledger promises. A new home adds one line to `homes`."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from critic.engines.ledger import Ledger
from critic.run.store import RunStore

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
    await asyncio.wait_for(waiting, 5)
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
    await asyncio.wait_for(other, 5)


async def test_many_commits_at_once(ledger: Ledger) -> None:
    keys = [f"{i:064x}" for i in range(3000)]
    await asyncio.gather(*(ledger.commit(key, [i], 0.0) for i, key in enumerate(keys)))
    assert [ledger.get(key) for key in keys] == [[i] for i in range(3000)]

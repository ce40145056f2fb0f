"""Runs against a server that fails in every way: no label lost, none invented, no committed answer asked for again."""

import asyncio
import json
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from base.digest import canonical_json, digest, unit_interval
from critic.judging.base import SAMPLE
from critic.records import Row
from critic.run.folder.store import RunStore
from critic.run.request import RunRequest
from critic.run.run import Outcome, run
from tests.critic.engines.fake_server import NO_WAIT, Answer, FakeServer, Fault, chat, likely
from tests.factories import small_constitution

pytestmark = pytest.mark.slow

PROMPTS = 16
GOOD = {"x-good": "yes"}
SLOW_DOWN = {"error": {"message": "slow down"}}

Body = dict[str, Any]


def healthy(body: Body) -> Answer:
    """An answer that depends on the request and nothing else, as an export must."""
    if "logprobs" in body:
        share = 0.05 + 0.9 * unit_interval("vote", body["messages"])
        return 200, GOOD, likely(A=math.log(share), B=math.log(1 - share))
    return 200, GOOD, chat(f"Answer {digest([body['messages'], body['seed']])[:8]}.")


class Host:
    """A port with a server that can be hostile, die and come back, and a run that asks it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"
        self.fault: Callable[[Body, int], Answer | None] = lambda body, attempt: None
        self.servers: list[FakeServer] = []
        self.attempts: Counter[str] = Counter()
        self._threads: list[threading.Thread] = []
        (folder / "c.yaml").write_text(yaml.safe_dump(small_constitution(2)))
        (folder / "p.txt").write_text("".join(f"question {i}\n" for i in range(PROMPTS)))
        self.start()

    def start(self) -> None:
        port = self.servers[-1].server_address[1] if self.servers else 0
        self.servers.append(FakeServer(port, self._reply))
        self._threads.append(self.servers[-1].serve())

    def die(self) -> None:
        self.servers[-1].die()

    def close(self) -> None:
        for server, thread in zip(self.servers, self._threads, strict=True):
            if thread.is_alive():
                server.die()
            thread.join()

    def _reply(self, body: Body) -> Answer:
        if _is_trial(body):
            answer = healthy(body)
            assert isinstance(answer, tuple)
            return answer[0], {}, answer[2]
        asked = canonical_json(body)
        self.attempts[asked] += 1
        return self.fault(body, self.attempts[asked]) or healthy(body)

    def run(self, max_cost: float | None = None, **options: object) -> Outcome:
        query = "&".join(f"{key}={value}" for key, value in options.items())
        spec = f"openai:org/model@{self.servers[-1].url}?{query}"
        source = str(self.folder / "p.txt")
        request = RunRequest(str(self.folder / "c.yaml"), source, judges=(spec,), policy=spec, modes=("logprob",))
        return asyncio.run(run(request, self.out, max_cost=max_cost, retest_share=0))

    def rows(self) -> dict[int, Row]:
        with closing(RunStore.open_existing(self.out)) as store:
            return {row.row: row for row in store.rows()}

    def calls(self) -> int:
        with closing(RunStore.open_existing(self.out)) as store:
            return store.calls()

    def refused(self) -> list[Any]:
        return [json.loads(line) for line in (self.out / "quarantine.jsonl").read_text().splitlines()]

    def answered(self) -> Counter[str]:
        """How often each request got a good answer that reached its reader."""
        sent = [entry for server in self.servers for entry in server.sent]
        return Counter(canonical_json(body) for body, answer in sent if isinstance(answer, tuple) and answer[1] == GOOD)

    def exports(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.out.glob("*.jsonl")}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critic.calls.wrappers.FIRST_WAIT", 0.001)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with closing(Host(tmp_path)) as opened:
        yield opened


@pytest.fixture(scope="module")
def peaceful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The run on a server that never fails."""
    with closing(Host(tmp_path_factory.mktemp("peaceful"))) as opened:
        assert opened.run().progress.rows == PROMPTS
        yield opened


def check_complete(host: Host, peaceful: Host) -> None:
    """As if nothing had happened: every answer once, the exports to the byte."""
    assert host.refused() == []
    assert host.answered() == peaceful.answered()
    assert set(host.answered().values()) == {1}
    assert host.exports() == peaceful.exports()


def _is_trial(body: Body) -> bool:
    """Whether a judge is being tried at opening: that is no answer of the run's, and in no ledger."""
    return any(SAMPLE.prompt.messages[0].content in message["content"] for message in body["messages"])


def row_of(body: Body) -> int:
    """The row that a request is about: its prompt is quoted in all of them."""
    text = "".join(message["content"] for message in body["messages"])
    return next(number for number in reversed(range(PROMPTS)) if f"question {number}" in text)


def two(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"choices": body["choices"] * 2}


# What a server can answer that is no answer, and what the quarantine says of it. These may pass:
PASSING: list[tuple[Answer, str]] = [
    ((429, NO_WAIT, SLOW_DOWN), "429: slow down"),
    ((429, {}, SLOW_DOWN), "429: slow down"),
    ((500, {}, {"error": {"message": "oops"}}), "500: oops"),
    (Fault.HALF, "the connection broke before the answer was whole"),
    (Fault.DROP, "the connection broke before the answer was whole"),
    ((200, {}, b'{"choices": [{"mess'), "something else than a chat"),
    ((200, {}, {"hello": "world"}), "something else than a chat: choices"),
    ((200, {"content-type": "text/html"}, b"<html><body>Be right back</body></html>"), "something else than a chat"),
    ((200, {}, chat() | {"choices": []}), "something else than a chat: choices"),
    ((200, {}, two(chat())), "something else than a chat: choices"),
]
# And these are the server's last word.
FINAL: list[tuple[Answer, str]] = [
    ((200, {}, chat() | {"model": "org/cheap"}), "another model answered: 'org/cheap'"),
    ((200, {}, chat(finish="content_filter")), "the finish reason 'content_filter'"),
    ((200, {}, chat(None)), "holds no text"),
    ((400, {}, {"error": {"message": "unknown field"}}), "400: unknown field"),
]


def test_what_passes_leaves_no_trace(host: Host, peaceful: Host) -> None:
    def fault(body: Body, attempt: int) -> Answer | None:
        kind = int(unit_interval("fault", body) * len(PASSING) * 3)  # a third of all requests
        return PASSING[kind][0] if attempt == 1 and kind < len(PASSING) else None

    host.fault = fault
    outcome = host.run()
    assert (outcome.progress.rows, outcome.progress.stopped) == (PROMPTS, "")
    assert 30 < sum(count > 1 for count in host.attempts.values()) < len(host.attempts) / 2
    check_complete(host, peaceful)


def test_what_lasts_costs_its_row_until_the_server_is_well(host: Host, peaceful: Host) -> None:
    lasting = dict(enumerate(PASSING + FINAL))
    host.fault = lambda body, attempt: lasting[row_of(body)][0] if row_of(body) in lasting else None
    check_rows_refused(host, peaceful, {row: said for row, (_, said) in lasting.items()})
    host.fault = lambda body, attempt: None
    assert host.run().progress.skipped == PROMPTS - len(lasting)
    check_complete(host, peaceful)


def check_rows_refused(host: Host, peaceful: Host, said: dict[int, str], **options: object) -> None:
    """Each row with its place and reason; the others as ever; what was answered well is all there."""
    outcome = host.run(None, **{"retries": 2} | options)
    standing = outcome.progress
    assert (standing.rows, standing.quarantined, standing.stopped) == (PROMPTS - len(said), len(said), "")
    refused = {entry["row"]: entry for entry in host.refused()}
    assert refused.keys() == said.keys()
    for row, entry in refused.items():
        reason = "held_back" if "content_filter" in said[row] else "engine_error"
        assert (entry["where"], entry["reason"]) == (f"p.txt:{row + 1}", reason)
        assert said[row] in entry["detail"]
    assert host.rows() == {row: result for row, result in peaceful.rows().items() if row not in said}
    assert host.calls() == host.answered().total()


def test_logprobs_that_are_missing_cost_their_row(host: Host, peaceful: Host) -> None:
    bare: Answer = (200, {}, chat("A", "length"))
    host.fault = lambda body, attempt: bare if "logprobs" in body and row_of(body) == 3 else None
    check_rows_refused(host, peaceful, {3: "lacks the log-probabilities"})
    host.fault = lambda body, attempt: None
    assert host.run().calls == 4  # the reads of one comparison; what was written for the row was kept
    check_complete(host, peaceful)


def test_a_server_that_hangs_costs_its_row(host: Host, peaceful: Host) -> None:
    host.fault = lambda body, attempt: Fault.HANG if row_of(body) == 3 else None
    check_rows_refused(host, peaceful, {3: "did not answer in time"}, timeout=15, retries=0)
    host.fault = lambda body, attempt: None
    host.run()
    check_complete(host, peaceful)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ((401, {}, {"error": {"message": "Key revoked"}}), "401: Key revoked"),
        ((403, {}, {"error": {"message": "Country not supported"}}), "403: Country"),
        ((429, {"retry-after": "90000"}, SLOW_DOWN), "asks to wait 90000 s"),
    ],
)
def test_where_nothing_can_be_answered_the_run_stops_and_no_row_is_blamed(
    host: Host, peaceful: Host, fault: Answer, said: str
) -> None:
    host.fault = lambda body, attempt: fault if len(host.attempts) > 50 else None
    outcome = host.run()
    assert said in outcome.progress.stopped
    assert outcome.progress.quarantined == 0 and host.refused() == []
    assert host.calls() == host.answered().total() == 50
    host.fault = lambda body, attempt: None
    assert host.run().progress.stopped == ""
    check_complete(host, peaceful)


def dying_at(host: Host, number: int, then: Callable[[], None]) -> Callable[[Body, int], Answer | None]:
    """From the ``number``-th request on nothing is answered: the server dies of it, and ``then`` happens once."""

    def die() -> None:
        host.die()
        then()

    def fault(body: Body, attempt: int) -> Answer | None:
        if len(host.attempts) < number or len(host.servers) > 1:
            return None
        if len(host.attempts) == number and attempt == 1:
            threading.Thread(target=die).start()
        return Fault.HANG

    return fault


def test_a_server_that_dies_stops_the_run_which_goes_on_when_it_is_back(
    host: Host, peaceful: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("critic.calls.wrappers.FIRST_WAIT", 0.1)
    host.fault = dying_at(host, 70, lambda: None)
    outcome = host.run(retries=2)
    assert "no connection to the server" in outcome.progress.stopped
    assert outcome.progress.quarantined == 0 and host.refused() == []
    assert 0 < host.calls() == host.answered().total()  # what was answered before is all there
    host.start()
    assert host.run().progress.stopped == ""
    check_complete(host, peaceful)


def test_a_server_that_restarts_is_waited_for(host: Host, peaceful: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critic.calls.wrappers.FIRST_WAIT", 0.1)
    host.fault = dying_at(host, 70, lambda: threading.Timer(0.2, host.start).start())
    outcome = host.run(retries=5)
    assert (outcome.progress.rows, outcome.progress.stopped) == (PROMPTS, "")
    assert len(host.servers) == 2
    check_complete(host, peaceful)


def test_a_run_stops_at_its_cost_and_goes_on_with_a_larger_one(host: Host, peaceful: Host) -> None:
    prices = {"input_price": 100, "output_price": 1000}  # so an answer costs 7 * 0.0001 + 3 * 0.001 = 0.0037
    outcome = host.run(0.6, **prices)
    assert "--max-cost" in outcome.progress.stopped
    assert outcome.progress.quarantined == 0 and host.refused() == []
    with closing(RunStore.open_existing(host.out)) as store:
        spent = store.cost()
    # The survey's four answers and the judge's trial were paid, too. The next answer could have been of 256 tokens, for
    # about 0.26.
    assert spent == pytest.approx((host.calls() + 5) * 0.0037) and 0.3 < spent <= 0.6
    assert host.run(10, **prices).progress.stopped == ""
    check_complete(host, peaceful)

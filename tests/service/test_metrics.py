"""Metrics: nothing that a client makes up becomes a label, and rendering them keeps nobody waiting."""

import asyncio
import threading

import pytest

from service.api import health
from tests.service.calls import Api


async def test_made_up_methods_and_addresses_are_one_label(api: Api) -> None:
    client = api.with_key(None)
    for number in range(50):
        assert (await client.request(f"BREW{number}", "/v1/keys")).status_code == 501
        assert (await client.request("PUT", "/v1/keys")).status_code == 405
        assert (await client.request("PUT", f"/v1/none{number}")).status_code == 404
    text = (await client.get("/metrics")).text
    assert "BREW" not in text and "none7" not in text
    counted = [line for line in text.splitlines() if line.startswith("cai_http_requests_total")]
    made_up = [line.rpartition("}")[0] for line in counted if 'method="other"' in line]
    assert made_up == ['cai_http_requests_total{method="other",route="other",status="501"']
    assert sum('method="PUT",route="other"' in line for line in counted) == 1


async def test_metrics_are_rendered_beside_the_event_loop(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, end, threads = threading.Event(), threading.Event(), list[int]()

    def slow(_: object) -> bytes:
        threads.append(threading.get_ident())
        begun.set()
        assert end.wait(600)
        return b"x 1\n"

    monkeypatch.setattr(health, "generate_latest", slow)
    client = api.with_key(None)
    scrapes = [asyncio.create_task(client.get("/metrics")) for _ in range(9)]
    await asyncio.to_thread(begun.wait, 600)
    assert (await client.get("/healthz")).status_code == 200  # while all of them wait
    end.set()
    assert {answer.text for answer in await asyncio.gather(*scrapes)} == {"x 1\n"}
    assert threading.get_ident() not in threads
    assert len(threads) == 2  # all that waited for the first share the second

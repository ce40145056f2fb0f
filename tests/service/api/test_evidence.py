"""Certificates in the service: stored once, asked for by data sets, their maps applied; and items routed to people."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from critic.certificates.certificate import Certificate, CertifiedJudge
from critic.statistics.judges.maps import Temperature
from service.evidence import certificates
from service.store.disk import dataset_folder
from tests.critic.certificates.test_certificates import HASH, certificate
from tests.service.calls import Api, comparison, problem


def judged(number: int, probability: float, judge: str = "judge", **more: Any) -> dict[str, Any]:
    """A judge's comparison, as a job stores it."""
    if probability == 0.5:
        choice = "tie"
    elif probability > 0.5:
        choice = "first"
    else:
        choice = "second"
    vote = {"principle": "p", "principle_digest": HASH, "judge": judge, "mode": "logprob", "order": "given"}
    return {
        "kind": "comparison",
        "prompt": f"Question {number}?",
        "responses": [{"text": f"one {number}", "model": "old"}, {"text": f"two {number}", "model": "new"}],
        "label": {"choice": choice, "probability": probability, "votes": [vote | {"log_odds": 1.0}]},
        "source": "ai",
        "annotator": judge,
        **more,
    }


def pairs(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]


async def stored(api: Api, one: Certificate) -> None:
    done = await api.admin.post("/v1/certificates", json={"certificate": json.loads(one.text())})
    assert done.status_code == 201, done.text


async def test_a_certificate_is_stored_once_and_never_a_changed_one(api: Api) -> None:
    one = certificate(map=Temperature(temperature=2.0))
    await stored(api, one)
    await stored(api, one)
    listed = (await api.admin.get("/v1/certificates")).json()["items"]
    assert [(entry["sha256"], entry["judge"], entry["has_map"]) for entry in listed] == [(one.sha256, "judge", True)]
    read = (await api.admin.get(f"/v1/certificates/{one.sha256}")).json()
    assert Certificate.model_validate_json(json.dumps(read["certificate"])) == one
    changed = json.loads(one.text()) | {"constitution": "another@1.0.0"}
    problem(await api.admin.post("/v1/certificates", json={"certificate": changed}), 422, "invalid")
    problem(await api.admin.post("/v1/certificates", json={"certificate": {}}), 422, "invalid")
    problem(await api.admin.get(f"/v1/certificates/{'0' * 64}"), 404, "not_found")
    ada = await api.labeller("Ada")
    problem(await ada.get("/v1/certificates"), 403, "forbidden")


async def test_a_map_mends_probabilities_and_keeps_sides(api: Api) -> None:
    with_map, without = certificate(map=Temperature(temperature=2.0)), certificate()
    await stored(api, with_map)
    await stored(api, without)
    body = {"probabilities": [0.9, 0.5, 0.1]}
    done = (await api.admin.post(f"/v1/certificates/{with_map.sha256}/mend", json=body)).json()["probabilities"]
    assert done == pytest.approx([0.75, 0.5, 0.25]), "the odds 9 become 3"
    problem(await api.admin.post(f"/v1/certificates/{without.sha256}/mend", json=body), 422, "invalid")
    bad = {"probabilities": [1.5]}
    problem(await api.admin.post(f"/v1/certificates/{with_map.sha256}/mend", json=bad), 422, "invalid")


async def test_a_data_set_asks_for_its_judge_s_certificate(api: Api) -> None:
    await api.admin.post("/v1/feedback", json=[judged(n, 0.9) for n in range(3)])
    asked = {"name": "d", "aggregation": "soft", "require_certificate": {"accuracy": 0.7}}
    refused = problem(await api.admin.post("/v1/datasets", json=asked), 422, "invalid")
    assert "no certificate is stored" in refused["detail"]
    other = CertifiedJudge(name="another", revision=HASH, settings=(), mode={"name": "logprob"})
    await stored(api, certificate(judge=other))
    refused = problem(await api.admin.post("/v1/datasets", json=asked), 422, "invalid")
    assert "of another judge" in refused["detail"]
    one = certificate(map=Temperature(temperature=2.0))
    await stored(api, one)
    high = asked | {"require_certificate": {"accuracy": 0.9}}
    refused = problem(await api.admin.post("/v1/datasets", json=high), 422, "invalid")
    assert "accuracy has to be at least 0.9" in refused["detail"]
    unknown = asked | {"require_certificate": {"acuracy": 0.7}}
    refused = problem(await api.admin.post("/v1/datasets", json=unknown), 422, "invalid")
    assert "accuracy" in refused["fix"]

    made = await api.admin.post("/v1/datasets", json=asked)
    assert made.status_code == 201, made.text
    assert made.json()["counts"]["certificates"] == [one.sha256]
    folder = dataset_folder.folder(api.service.settings.data, "d", 1)
    assert json.loads((folder / "certificate.json").read_text())["sha256"] == one.sha256

    mended = asked | {"mend": True, "certificate": one.sha256}
    assert (await api.admin.post("/v1/datasets", json=mended)).status_code == 201
    rows = pairs(dataset_folder.folder(api.service.settings.data, "d", 2))
    assert [row["probability"] for row in rows] == pytest.approx([0.75] * 3)
    plain = pairs(folder)
    assert [row["probability"] for row in plain] == pytest.approx([0.9] * 3)
    none = asked | {"certificate": "0" * 64}
    problem(await api.admin.post("/v1/datasets", json=none), 422, "invalid")


async def test_what_no_certificate_bound_or_probability_can_be_is_refused(api: Api) -> None:
    one = certificate(map=Temperature(temperature=2.0))
    await stored(api, one)
    good = json.loads(one.text())
    figure = good["figures"]["accuracy"]
    json_of = {"content-type": "application/json"}
    for changed in (
        good | {"format": 2},
        {key: value for key, value in good.items() if key != "sha256"},
        good | {"figures": {"accuracy": figure | {"estimate": math.nan}}},
        good | {"figures": {"accuracy": figure | {"low": math.inf}}},
        good | {"map": {"kind": "temperature", "temperature": 0}},
        good | {"map": {"kind": "isotonic", "probabilities": [], "shares": []}},
        good | {"covers": None},
    ):
        body = json.dumps({"certificate": changed})
        done = await api.admin.post("/v1/certificates", content=body, headers=json_of)
        assert done.status_code in (400, 422), (changed, done.text)
    deep = '{"certificate": ' + "[" * 100_000
    assert (await api.admin.post("/v1/certificates", content=deep, headers=json_of)).status_code in (400, 422)

    await api.admin.post("/v1/feedback", json=[judged(n, 0.9) for n in range(3)])
    for bounds in (
        '{"accuracy": NaN}',
        '{"accuracy": 1e999}',
        '{"accuracy": 70}',
        '{"": 0.5}',
        '["accuracy"]',
        '"yes"',
    ):
        asked = '{"name": "d", "aggregation": "soft", "require_certificate": ' + bounds + "}"
        done = await api.admin.post("/v1/datasets", content=asked, headers=json_of)
        assert done.status_code in (400, 422), (bounds, done.text)
    at = f"/v1/certificates/{one.sha256}/mend"
    for probabilities in ("[]", "[NaN]", "[-0.1]", "[1e999]", '["0.5"]', "[true]", "[null]", "0.5"):
        body = '{"probabilities": ' + probabilities + "}"
        done = await api.admin.post(at, content=body, headers=json_of)
        assert done.status_code in (400, 422), (probabilities, done.text)


async def test_people_s_labels_need_no_certificate(api: Api) -> None:
    await api.admin.post("/v1/feedback", json=[comparison("Which?")])
    asked = {"name": "d", "aggregation": "each", "require_certificate": True}
    assert (await api.admin.post("/v1/datasets", json=asked)).status_code == 201


async def test_items_are_routed_and_figures_wait_for_all_of_them(api: Api) -> None:
    made = await api.admin.post("/v1/projects", json={"name": "P", "kind": "comparison"})
    id = made.json()["id"]
    refused = problem(await api.admin.post(f"/v1/projects/{id}/routings", json={"budget": 5}), 422, "invalid")
    assert "no judge's comparison" in refused["detail"]
    await api.admin.post("/v1/feedback", json=[judged(n, 0.95 if n % 2 else 0.55) for n in range(60)])
    done = await api.admin.post(f"/v1/projects/{id}/routings", json={"budget": 30, "seed": 3})
    assert done.status_code == 201, done.text
    routing = done.json()
    assert (routing["items"], routing["shown"], routing["added"], routing["pilot"]) == (60, 30, 30, 0)
    at = f"/v1/projects/{id}/routings/{routing['id']}"
    before = (await api.admin.get(at)).json()
    assert all(one["figure"] is None and one["why_not"] for one in before["figures"])

    ada = await api.labeller("Ada")
    doubtful = 0
    for _ in range(30):
        task = (await ada.post(f"/v1/projects/{id}/tasks/next")).json()["task"]
        number = int(task["prompt"][0]["content"].split()[1].strip("?"))
        doubtful += number % 2 == 0
        place = next(i for i, response in enumerate(task["responses"]) if response.startswith("two"))
        await ada.post(f"/v1/tasks/{task['id']}/answer", json={"label": ("first", "second")[place]})
    assert doubtful > 20, "what is near even odds is drawn more often"
    after = {(one["what"], one["of"]): one for one in (await api.admin.get(at)).json()["figures"]}
    win = after["win rate", "new"]["figure"]
    # The judge is at .95 or .55 for the old one, and people always prefer the new one.
    assert win is not None and win["estimate"] == pytest.approx(1, abs=0.05) and win["n"] == 30
    assert after["accuracy", "judge"]["figure"]["estimate"] == pytest.approx(0, abs=0.1)
    assert (await api.admin.get(f"/v1/projects/{id}/routings")).json()["items"] == [routing["id"]]
    problem(await api.admin.get(f"/v1/projects/{id}/routings/none"), 404, "not_found")
    ratings = (await api.admin.post("/v1/projects", json={"name": "R", "kind": "thumbs"})).json()["id"]
    problem(await api.admin.post(f"/v1/projects/{ratings}/routings", json={"budget": 5}), 422, "invalid")


async def test_certificates_are_bounded_where_they_come_in_and_listed_by_bytes(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them were read, parsed and hashed for each page that lists some, however many and however long."""
    ones = [certificate(not_covered=(f"{number} {'x' * 3000}",)) for number in range(4)]
    for one in ones:
        await stored(api, one)
    monkeypatch.setattr(certificates, "PAGE_BYTES", 10_000)
    listed = (await api.admin.get("/v1/certificates")).json()["items"]
    newest = [one.sha256 for one in reversed(ones)]
    assert [one["sha256"] for one in listed] == newest[: len(listed)] and 1 <= len(listed) < 4
    assert (await api.admin.get(f"/v1/certificates/{newest[-1]}")).status_code == 200
    await api.admin.post("/v1/feedback", json=[judged(n, 0.9) for n in range(4)])
    asked = {"name": "d", "aggregation": "each", "require_certificate": True}
    monkeypatch.setattr(certificates, "ALL_BYTES", 10_000)
    refused = problem(await api.admin.post("/v1/datasets", json=asked), 422, "invalid")
    assert "Name one by its hash" in refused["fix"]
    told = await api.admin.post("/v1/datasets", json=asked | {"certificate": newest[0]})
    assert "too many certificates" not in told.text
    long = json.loads(certificate(not_covered=("x" * 2**20,) * 2).text())
    problem(await api.admin.post("/v1/certificates", json={"certificate": long}), 422, "too_long")

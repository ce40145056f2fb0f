"""Certificates and routing on pages: what a manager reads there, and the forms that store, ask for and draw."""

import json
import re
from typing import Any

import httpx2
import pytest

from critic.certificates import binding
from critic.certificates.certificate import Certificate
from critic.statistics.judges.maps import Temperature
from tests.critic.certificates.test_certificates import certificate
from tests.service.api.test_evidence import judged
from tests.service.calls import Api
from tests.service.web.test_safety import Page, signed_in


async def manager(api: Api) -> httpx2.AsyncClient:
    return await signed_in(api, "admin")


async def posted(client: httpx2.AsyncClient, address: str, form: dict[str, str], **more: Any) -> httpx2.Response:
    token = Page((await client.get(address)).text).csrf
    return await client.post(address, data={"csrf": token, **form}, **more)


async def bound_here(api: Api, **changed: Any) -> Certificate:
    """A certificate of this very program, under a constitution that is published here."""
    published = await api.service.constitutions.get("hhh@1.0.0")
    here = {
        "templates": binding.templates_digest(),
        "code": binding.code(),
        "constitution": published.ref,
        "constitution_hash": published.digest,
        "principles": {principle.id: principle.digest for principle in published.principles},
    }
    return certificate(**(here | changed))


async def stored(client: httpx2.AsyncClient, one: Certificate) -> httpx2.Response:
    return await posted(client, "/certificates", {}, files={"file": ("certificate.json", one.text().encode())})


async def test_a_certificate_is_stored_by_its_file_and_says_whether_it_holds(api: Api) -> None:
    client = await manager(api)
    holds = await bound_here(api)
    answer = await stored(client, holds)
    assert answer.status_code == 303 and answer.headers["location"] == f"/certificates/{holds.sha256}"
    page = (await client.get(f"/certificates/{holds.sha256}")).text
    assert "Nothing that it is bound to has changed" in page and "void here" not in page
    assert "Anything else." in page and "leaning_to_length" in page
    assert "900 labels of 3 people" in page
    # Another program, and a principle that reads otherwise by now: both are named, and nothing else.
    principles = dict(holds.principles)
    first = next(iter(principles))
    void = await bound_here(api, code={"version": "0", "sha256": "b" * 64}, principles=principles | {first: "c" * 64})
    await stored(client, void)
    page = (await client.get(f"/certificates/{void.sha256}")).text
    reasons = page[page.index("void here") : page.index("</ul>", page.index("void here"))]
    assert "Code that judges" in reasons and first in reasons and reasons.count("<li>") == 2
    told = (await api.admin.get(f"/v1/certificates/{void.sha256}/standing")).json()
    assert told["is_void"] is True and {one["what"] for one in told["bound"] if one["fate"] == "changed"} == {
        "code",
        f"principle {first}",
    }
    # One under a constitution that isn't published here: nothing is said of it.
    elsewhere = certificate(templates=binding.templates_digest(), code=binding.code())
    await stored(client, elsewhere)
    told = (await api.admin.get(f"/v1/certificates/{elsewhere.sha256}/standing")).json()
    assert told["is_void"] is False
    assert {one["fate"] for one in told["bound"] if one["what"].startswith(("constitution", "principle"))} == {
        "unknown"
    }
    assert "not published here" in (await client.get(f"/certificates/{elsewhere.sha256}")).text


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"[" * 100_000, b"\xff\xfe", b'{"sha256": 1e999}'])
async def test_what_is_no_certificate_is_refused_on_the_page(api: Api, content: bytes) -> None:
    client = await manager(api)
    answer = await posted(client, "/certificates", {}, files={"file": ("c.json", content)})
    assert answer.status_code == 422 and 'role="alert"' in answer.text and "Store a certificate" in answer.text


async def test_its_file_and_numbers_are_those_that_were_stored(api: Api) -> None:
    client = await manager(api)
    one = await bound_here(api)
    await stored(client, one)
    at = f"/certificates/{one.sha256}"
    assert json.loads((await client.get(f"{at}/file")).text) == json.loads(one.text())
    rows = (await client.get(f"{at}/pictures/agreement.csv")).text.splitlines()
    assert rows[0] == "figure,estimate,low,high,n,clusters" and rows[1] == "accuracy,0.8,0.75,0.85,300,300"
    assert rows[4] == "retest_spread,0.1,,,3,1"
    assert (await client.get(f"{at}/pictures/agreement.svg")).text.startswith("<svg")
    bare = await bound_here(api, figures={})
    await stored(client, bare)
    assert (await client.get(f"/certificates/{bare.sha256}")).status_code == 200
    assert (await client.get(f"/certificates/{bare.sha256}/pictures/agreement.svg")).status_code == 404


async def test_a_data_set_asks_for_a_certificate_by_its_form(api: Api) -> None:
    client = await manager(api)
    await api.admin.post("/v1/feedback", json=[judged(n, 0.9) for n in range(3)])
    asked = {"name": "d", "aggregation": "soft", "require": "yes", "mend": "yes", "bounds": "accuracy = 0.7"}
    refused = await posted(client, "/datasets", asked)
    assert refused.status_code == 422 and "no certificate is stored" in refused.text
    assert "accuracy = 0.7" in refused.text and re.search(r'name="mend" value="yes" checked', refused.text)
    malformed = await posted(client, "/datasets", asked | {"bounds": "accuracy"})
    assert malformed.status_code == 422 and "is no bound" in malformed.text
    one = certificate(map=Temperature(temperature=2.0))
    await stored(client, one)
    assert (await posted(client, "/datasets", asked)).status_code == 303
    [made] = (await api.admin.get("/v1/datasets")).json()["items"]
    assert made["request"]["require_certificate"] == {"accuracy": 0.7} and made["request"]["mend"] is True
    for address in ("/datasets", "/datasets/d/1"):
        assert f"/certificates/{one.sha256}" in (await client.get(address)).text
    page = (await client.get(f"/certificates/{one.sha256}")).text
    where = page[page.index("Where it is required") :]
    assert "/datasets/d/1" in where and "at least 0.7" in where and "mended by its map" in where


async def test_items_are_drawn_by_a_form_and_get_verdicts(api: Api) -> None:
    client = await manager(api)
    made = await api.admin.post("/v1/projects", json={"name": "P", "kind": "comparison", "labels_per_item": 3})
    at = f"/projects/{made.json()['id']}"
    assert "no judge&#39;s comparison" in (await posted(client, f"{at}/routing", {"budget": "5"})).text
    assert (await posted(client, f"{at}/routing", {"budget": "many"})).status_code == 422
    await api.admin.post("/v1/feedback", json=[judged(n, 0.55) for n in range(6)])
    answer = await posted(client, f"{at}/routing", {"budget": "6", "seed": "3", "annotator": "judge"})
    assert answer.status_code == 303, answer.text
    drawn = answer.headers["location"]
    assert drawn.removeprefix(f"{at}/routing/") in (await client.get(f"{at}/routing")).text
    page = (await client.get(drawn)).text
    assert "Nothing is said of an item" in page
    # Three people: on five items all say the same, on one they are divided.
    for name in ("Ada", "Bo", "Cy"):
        person = await api.labeller(name)
        while (task := (await person.post(f"/v1{at}/tasks/next")).json()["task"]) is not None:
            first = task["responses"][0].startswith("one")
            wants_one = name != "Cy" or "Question 0?" not in task["prompt"][0]["content"]
            label = "first" if first == wants_one else "second"
            assert (await person.post(f"/v1/tasks/{task['id']}/answer", json={"label": label})).status_code == 201
    page = (await client.get(drawn)).text
    assert "Question 0?" in page and "collect more" in page and "settled" in page and "Accuracy" in page
    verdicts = (await client.get(f"{drawn}/verdicts.csv")).text.splitlines()
    assert verdicts[0] == "item,group,verdict" and len(verdicts) == 7
    assert sum(row.endswith(",settled") for row in verdicts) == 5
    rows = (await client.get(f"{drawn}/figures.csv")).text.splitlines()
    assert "estimate" in rows[0] or "why_not" in rows[0]
    contested = (await client.get(f"{at}/items")).text
    assert contested.index("collect more") < contested.index("settled")
    [head, *numbers] = (await client.get(f"{at}/items.csv")).text.splitlines()
    assert head.endswith("verdict") and sum(row.endswith("settled") for row in numbers) == 5
    for other in ("ranking", "rating"):
        project = (await api.admin.post("/v1/projects", json={"name": other, "kind": other})).json()["id"]
        assert "/routing" not in (await client.get(f"/projects/{project}")).text

"""Constitutions through the API: the package's rules and messages, with the database as the truth."""

import asyncio
from typing import Any

import pytest
import yaml
from sqlalchemy import select

from constitution import diff, load
from service.store import constitutions as part
from service.store.constitutions import Constitutions
from service.store.tables import audit
from tests.service.calls import Api, one_database, problem
from tests.service.judges import constitution

YAML = {"Content-Type": "application/yaml"}


def text(**more: Any) -> str:
    return yaml.safe_dump(constitution(**more), sort_keys=False)


async def publish(api: Api, content: str, status: int = 201) -> dict[str, Any]:
    answer = await api.admin.post("/v1/constitutions", content=content, headers=YAML)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_pages_hold_the_shipped_and_the_published_each_once(api: Api) -> None:
    await publish(api, text())
    refs, cursor = [], None
    while True:
        page = (await api.admin.get("/v1/constitutions", params={"limit": 2, "cursor": cursor or ""})).json()
        refs += [one["ref"] for one in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert refs == sorted(set(refs)) and {"harmlessness@1.0.0", "hhh@1.0.0", "small@1.0.0"} <= set(refs)


async def test_a_name_alone_is_the_newest_version_with_the_packages_own_hash(api: Api) -> None:
    shown = (await api.admin.get("/v1/constitutions/harmlessness")).json()
    newest = load("harmlessness")
    assert shown["ref"] == newest.ref and shown["hash"] == newest.digest
    assert shown["principle_hashes"] == {principle.id: principle.digest for principle in newest.principles}


async def test_the_file_comes_back_byte_for_byte_where_yaml_is_asked_for(api: Api) -> None:
    content = "# A remark of its author.\n" + text()
    await publish(api, content)
    by_header = await api.admin.get("/v1/constitutions/small", headers={"Accept": "application/yaml"})
    by_name = await api.admin.get("/v1/constitutions/small@1.0.0?format=yaml")
    assert by_header.text == by_name.text == content
    assert by_header.headers["content-type"].startswith("application/yaml")


@pytest.mark.parametrize("ref", ["nobody", "harmlessness@9.9.9", "harmlessness@", "..", "a b", "%2e%2e%2fsecret", "@"])
async def test_what_is_not_there_is_404(api: Api, ref: str) -> None:
    problem(await api.admin.get(f"/v1/constitutions/{ref}"), 404, "not_found")


async def test_a_published_version_never_changes(api: Api) -> None:
    await publish(api, text())
    again = await publish(api, text(), status=200)
    assert again["ref"] == "small@1.0.0"
    other = await api.admin.post("/v1/constitutions", content=text(title="Other"), headers=YAML)
    refused = problem(other, 409, "conflict")
    assert "published already, with other content" in refused["detail"] and "raise `version`" in refused["fix"]
    await publish(api, text(version="1.1.0"))
    older = await api.admin.post("/v1/constitutions", content=text(version="1.0.5"), headers=YAML)
    assert "older than the published 1.1.0" in problem(older, 409, "conflict")["detail"]


async def test_a_shipped_version_can_not_be_replaced_but_followed(api: Api) -> None:
    taken = text(name="harmlessness", version="1.0.0")
    problem(await api.admin.post("/v1/constitutions", content=taken, headers=YAML), 409, "conflict")
    await publish(api, text(name="harmlessness", version="7.0.0"))
    assert (await api.admin.get("/v1/constitutions/harmlessness")).json()["ref"] == "harmlessness@7.0.0"
    assert (await api.admin.get("/v1/constitutions/harmlessness@1.0.0")).json()["hash"] == load(
        "harmlessness@1.0.0"
    ).digest


async def test_json_publishes_the_same_constitution_as_yaml(api: Api) -> None:
    data = constitution(title="Größe \U0001f600 - 'yes': null")
    as_json = (await api.admin.post("/v1/constitutions", json=data)).json()
    as_yaml = await publish(api, yaml.safe_dump(data | {"name": "other"}))
    hashes = [(await api.admin.get(f"/v1/constitutions/{c['ref']}")).json() for c in (as_json, as_yaml)]
    assert hashes[0]["constitution"]["title"] == hashes[1]["constitution"]["title"] == data["title"]
    assert hashes[0]["principle_hashes"] == hashes[1]["principle_hashes"]


async def test_published_ones_can_be_included(api: Api) -> None:
    await publish(api, text(name="base"))
    await publish(api, text(name="all", principles=0, includes=[{"ref": "base@1.0.0"}, {"ref": "honesty@1.0.0"}]))
    shown = (await api.admin.get("/v1/constitutions/all")).json()
    ids = [principle["id"] for principle in shown["constitution"]["principles"]]
    assert ids == ["p0", "p1", *(principle.id for principle in load("honesty@1.0.0").principles)]


async def test_every_fault_is_told_with_line_and_key_and_no_folder(api: Api) -> None:
    broken = text().replace("statement: statement 0", "statment: statement 0").replace("  title: title 1\n", "")
    line = broken.split("\n").index("  statment: statement 0") + 1
    answer = await api.admin.post("/v1/constitutions", content=broken, headers=YAML)
    document = problem(answer, 422, "invalid")
    faults = {fault["where"]: fault["problem"] for fault in document["faults"]}
    assert "did you mean 'statement'?" in faults[f"line {line} principles[0].statment"]
    assert [where.split()[-1] for where in faults if "missing" in faults[where]] == [
        "principles[0].statement",
        "principles[1].title",
    ]
    assert "/tmp" not in answer.text
    problem(await api.admin.get("/v1/constitutions/small"), 404, "not_found")


@one_database
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x: " + "[" * 40 + "]" * 40, "nested more than 16 deep"),
        ("# " + "x" * 2**20, "too many for a constitution"),
        ("a: &a [1,1]\nb: &b [*a,*a]\nc: &c [*b,*b]\n" + "".join(f"d{i}: *c\n" for i in range(200)), "aliases"),
        ("!!python/object/apply:os.system ['true']", "tag"),
        ("name: small\n\0", "not YAML"),
        ("# nothing", "empty"),
        ("- 1", "expected a mapping"),
        ("name: \xff".encode("latin-1"), "not UTF-8"),
    ],
)
async def test_hostile_yaml_is_refused_and_nothing_runs(api: Api, content: str | bytes, said: str) -> None:
    answer = await api.admin.post("/v1/constitutions", content=content, headers=YAML)
    assert said in problem(answer, 422, "invalid")["detail"]
    linted = await api.admin.post("/v1/lint", content=content, headers=YAML)
    assert linted.status_code == 200 and said in linted.json()["faults"][0]["problem"]


async def test_no_body_is_refused(api: Api) -> None:
    for path in ("constitutions", "lint"):
        answer = await api.admin.post(f"/v1/{path}", headers=YAML)
        assert "no body" in problem(answer, 422, "invalid")["detail"]


async def test_hostile_json_is_refused(api: Api) -> None:
    headers = {"Content-Type": "application/json"}
    for content in ('{"name": "a\\u0000"}', '{"weight": NaN}', "{", "[" * 100_000):
        problem(await api.admin.post("/v1/constitutions", content=content, headers=headers), 400, "malformed")


async def test_what_looks_like_a_template_stays_text(api: Api) -> None:
    data = constitution()
    data["principles"][0]["statement"] = planted = "{{ ''.__class__.__mro__ }} {% raw %} ${7*7}"
    await publish(api, yaml.safe_dump(data))
    shown = (await api.admin.get("/v1/constitutions/small")).json()
    assert shown["constitution"]["principles"][0]["statement"] == planted


async def test_a_name_that_no_label_could_carry_is_refused(api: Api) -> None:
    answer = await api.admin.post("/v1/constitutions", content=text(name="n" * 101), headers=YAML)
    assert "longer than 100 characters" in problem(answer, 422, "invalid")["detail"]


async def test_lint_finds_faults_and_remarks_and_publishes_nothing(api: Api) -> None:
    reader = await api.client("read")
    content = text().replace("compare: compare 0", "compare: Is it kind?")
    told = (await reader.post("/v1/lint", content=content, headers=YAML)).json()
    assert told["ref"] == "small@1.0.0" and told["faults"] == []
    assert any(remark["where"] == "p0.compare" for remark in told["remarks"])
    broken = (await reader.post("/v1/lint", content=text(version="one"), headers=YAML)).json()
    assert broken["ref"] is None
    assert broken["faults"][0]["line"] == 2 and broken["faults"][0]["key"] == "version"
    problem(await reader.get("/v1/constitutions/small"), 404, "not_found")


async def test_a_difference_is_the_packages(api: Api) -> None:
    answer = await api.admin.get("/v1/constitutions/harmlessness@1.0.0/diff", params={"to": "harmlessness"})
    told, expected = answer.json(), diff(load("harmlessness@1.0.0"), load("harmlessness"))
    assert told["b"] == {"ref": expected.b.ref, "hash": expected.b.digest}
    wanted = [one.id for one in expected.reworded]
    assert [one["id"] for one in told["reworded"]] == wanted
    assert told["added"] == [one.id for one in expected.added]
    assert told["stale_digests"] == list(expected.stale_digests) != []
    problem(await api.admin.get("/v1/constitutions/hhh/diff", params={"to": "nobody"}), 404, "not_found")


async def test_only_administrators_publish_and_it_is_audited(api: Api) -> None:
    for scope in ("read", "feedback", "label", "jobs"):
        client = await api.client(scope)
        problem(await client.post("/v1/constitutions", content=text(), headers=YAML), 403, "forbidden")
    made = await publish(api, text())
    async with api.service.database.read() as connection:
        rows = (await connection.execute(select(audit).where(audit.c.action == "constitution.published"))).all()
    assert [(row.target, row.detail) for row in rows] == [("small@1.0.0", {"hash": made["hash"]})]


async def test_another_server_sees_a_version_once_its_mirror_is_stale(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part, "FRESH_SECONDS", 0.0)
    async with Constitutions(api.service.database) as other:
        await publish(api, text())
        assert (await other.get("small")).ref == "small@1.0.0"
        await publish(api, text(version="1.2.0"))
        assert (await other.get("small")).ref == "small@1.2.0"
        assert (await other.get("small@1.0.0")).ref == "small@1.0.0"


async def test_two_servers_that_publish_one_version_at_once_agree(api: Api) -> None:
    async with Constitutions(api.service.database) as other:
        contents = [text().encode(), text(title="Other").encode()]
        parts = [api.service.constitutions, other]
        checked = [await one.check(content) for one, content in zip(parts, contents, strict=True)]
        work = [one.publish(c, content, {}) for one, c, content in zip(parts, checked, contents, strict=True)]
        done = await asyncio.gather(*work, return_exceptions=True)
        assert sum(one is True for one in done) == 1
        digests = {(await one.get("small@1.0.0")).digest for one in parts}
        assert len(digests) == 1


async def test_the_same_request_twice_publishes_once(api: Api) -> None:
    headers = YAML | {"Idempotency-Key": "once"}
    first = await api.admin.post("/v1/constitutions", content=text(), headers=headers)
    again = await api.admin.post("/v1/constitutions", content=text(), headers=headers)
    assert (first.status_code, again.status_code) == (201, 201) and first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"

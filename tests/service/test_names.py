"""Names are kept as they are seen: none can be made of another one by signs that nobody sees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from service.keys.names import ShownName, seen
from tests.service.calls import Api, one_database


class Named(BaseModel):
    name: ShownName


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Ada", "Ada"),
        (" Ada\u00a0 \n Lovelace\t", "Ada Lovelace"),
        ("Ada\u200b", "Ada"),  # of no width
        ("A\u200dda\u200c", "Ada"),  # joins nothing
        ("\u202eadA", "adA"),  # turned round
        ("\u2066Ada\u2069\ufeff\u00ad", "Ada"),
        ("A\u030angstro\u0308m", "Ångström"),
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),  # another word without the sign
        ("क्\u200dष", "क्\u200dष"),
        ("أحمد 王小明 👩\u200d🚀", "أحمد 王小明 👩\u200d🚀"),
    ],
)
def test_a_name_is_what_is_seen_of_it(given: str, kept: str) -> None:
    assert seen(given) == kept == Named(name=given).name


@pytest.mark.parametrize("name", ["", " ", "\u00a0", "\u200b\u202e", "\x07\x7f", "\ufeff"])
def test_what_shows_nothing_is_no_name(name: str) -> None:
    with pytest.raises(ValidationError):
        Named(name=name)


@given(st.text())
def test_what_was_kept_once_stays(name: str) -> None:
    assert seen(seen(name)) == seen(name)


@one_database
async def test_nobody_and_no_project_can_be_made_to_look_like_another_one(api: Api) -> None:
    for path, asked in (("annotators", {}), ("projects", {"kind": "comparison"})):
        made = await api.admin.post(f"/v1/{path}", json={"name": "Ada", **asked})
        assert made.status_code == 201
        for name in ("Ada\u200b", " Ada", "\u202dAda"):
            assert (await api.admin.post(f"/v1/{path}", json={"name": name, **asked})).status_code == 409
    named = (await api.admin.get("/v1/annotators", params={"name": "\ufeffAda "})).json()["items"]
    assert [one["name"] for one in named] == ["Ada"]
    await api.annotator("Grace ")  # of a version before
    [grace] = (await api.admin.get("/v1/annotators", params={"name": "Grace "})).json()["items"]
    assert grace["name"] == "Grace "
    key = await api.admin.post("/v1/keys", json={"name": "a\u202ekey", "scopes": ["read"]})
    assert key.json()["name"] == "akey"

"""Forms that are made of requests: every field of every request, and what is typed into them."""

from typing import Any

import pytest
from pydantic import BaseModel

from service.jobs.kinds import KINDS
from service.refusals import Invalid
from service.web.manage.job.request_form import Entry, entries_of, values_of


def names(entries: list[Entry]) -> set[str]:
    """The fields of a form, by their places in the request."""
    below = {name for entry in entries for name in names(list(entry.entries))}
    return {entry.name for entry in entries if entry.control != "group"} | below


def fields(model: type[BaseModel], before: str = "") -> set[str]:
    """The fields of a model by their places, read off the model itself."""
    places: set[str] = set()
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        is_group = isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__name__ != "Source"
        places |= fields(kind, f"{before}{name}.") if is_group else {f"{before}{name}"}
    return places


@pytest.mark.parametrize("kind", KINDS)
def test_a_form_asks_for_every_field_of_its_request(kind: str) -> None:
    entries = entries_of(KINDS[kind].request)
    assert names(entries) - {"settings.more"} == fields(KINDS[kind].request) - {"kind"}
    required = [entry.is_required for entry in entries]
    assert required == sorted(required, reverse=True)


def test_what_is_typed_is_what_the_request_says() -> None:
    given = {
        "method": "grpo",
        "name": " kinder-1 ",
        "constitution": "",
        "settings.max_steps": "12",
        "settings.learning_rate": "2e-5",
        "settings.prefix_packing": "no",
        "settings.beta": "much",  # the request refuses it, with its place
        "settings.more": "kl_estimator = k3\nalarm_kl = 20.5\nwhole = true",
    }
    assert values_of(entries_of(KINDS["train"].request), given) == {
        "method": "grpo",
        "name": "kinder-1",
        "settings": {
            "max_steps": 12,
            "learning_rate": 2e-5,
            "prefix_packing": False,
            "beta": "much",
            "kl_estimator": "k3",
            "alarm_kl": 20.5,
            "whole": True,
        },
    }
    judged = values_of(entries_of(KINDS["judge"].request), {"judges": "one\n\n two ", "limit": "1_0", "retest": ".5"})
    assert judged == {"judges": ["one", "two"], "limit": "1_0", "retest": 0.5}


def test_a_setting_without_a_value_is_refused() -> None:
    with pytest.raises(Invalid, match="is no setting"):
        values_of(entries_of(KINDS["train"].request), {"settings.more": "gamma"})

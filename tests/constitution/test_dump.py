"""What is dumped loads again, to the same content."""

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from constitution import Constitution, load
from constitution.dump import dump
from constitution.library import published, shipped
from tests.constitution.samples import header, make, principle

_FILE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
# Everything that YAML gives a meaning to, and texts of any kind.
_TEXT = st.one_of(
    st.text(min_size=1, max_size=60),
    st.lists(
        st.sampled_from([*"ab:#-'\"|>&*!%@`{}[],?~ \n\t", "\n  ", "null", "no", "1.0", "é", "\u2028", "\x85", "😀"])
    ).map("".join),
)
_SLUG = st.from_regex(r"[a-z0-9]{1,6}(-[a-z0-9]{1,4})?", fullmatch=True)
_TAGS = st.lists(_SLUG, max_size=3, unique=True)
_COUNT = st.integers(0, 10**9)
_EXAMPLE = st.fixed_dictionaries(
    {key: _TEXT for key in ("prompt", "response", "critique", "revision")},
    optional={
        "history": st.lists(
            st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": _TEXT}), max_size=2
        )
    },
)
_PRINCIPLE = st.fixed_dictionaries(
    {"id": _SLUG, **{key: _TEXT for key in ("title", "statement", "critique", "revision", "compare")}},
    optional={
        "opposite": _TEXT,
        "weight": st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False),
        "priority": st.integers(1, 1000),
        "tags": _TAGS,
        "applies_to": _TAGS,
        "group": st.fixed_dictionaries({"id": _SLUG, "agrees": _COUNT, "disagrees": _COUNT, "passes": _COUNT}),
        "examples": st.lists(_EXAMPLE, max_size=2),
    },
)
_HEADER = {key: _TEXT for key in ("title", "summary", "license", "language")}


@_FILE
@given(
    head=st.fixed_dictionaries(_HEADER, optional={"preamble": _TEXT}),
    principles=st.lists(_PRINCIPLE, min_size=1, max_size=3, unique_by=lambda p: p["id"]),
)
def test_round_trip(tmp_path: Path, head: dict[str, str], principles: list[dict[str, Any]]) -> None:
    try:
        constitution = Constitution.model_validate(header(**head, principles=principles))
    except ValidationError:  # an empty text, or a control character
        return
    file = tmp_path / "dumped.yaml"
    file.write_text(dump(constitution), "utf-8")
    assert load(file) == constitution
    assert load(file).digest == constitution.digest


def test_shipped_constitutions_keep_their_principles(tmp_path: Path) -> None:
    file = tmp_path / "dumped.yaml"
    for name, versions in published(shipped()).items():
        for version in versions:
            constitution = load(f"{name}@{version}")
            file.write_text(dump(constitution), "utf-8")
            assert load(file).principles == constitution.principles
            assert (load(file).digest == constitution.digest) == (not constitution.includes)


def test_the_file_reads_well() -> None:
    example = {"prompt": "p", "response": "def f():\n    return 1", "critique": "c", "revision": "v"}
    assert dump(make(principles=[principle("a", tags=["x"], weight=2, examples=[example])])) == (
        "name: demo\nversion: 1.0.0\ntitle: Demo\nsummary: For tests.\nlicense: Apache-2.0\nlanguage: en\n"
        "principles:\n"
        "  - id: a\n    title: The title of a.\n    statement: The statement of a.\n    critique: The critique of a.\n"
        "    revision: The revision of a.\n    compare: The compare of a.\n    weight: 2.0\n    tags:\n      - x\n"
        "    examples:\n"
        "      - prompt: p\n        response: |-\n          def f():\n              return 1\n"
        "        critique: c\n        revision: v\n"
    )

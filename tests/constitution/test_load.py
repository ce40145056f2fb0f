"""From a file or a name to a constitution, and every fault with its place."""

import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from base.nearest import nearest
from constitution import InputError, load
from constitution.library import shipped
from constitution.versions import publish
from tests.constitution.samples import header, principle, write


def failure(file: Path | str, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(file, **options)
    return str(caught.value)


def test_loads_what_the_file_says(tmp_path: Path) -> None:
    constitution = load(write(tmp_path, principles=[principle("a", weight=2, priority=3), principle("b")]))
    assert constitution.ref == "demo@1.0.0"
    assert [(p.id, p.weight, p.priority) for p in constitution.principles] == [("a", 2.0, 3), ("b", 1.0, 1)]
    assert constitution.principles[0].statement == "The statement of a."


def test_all_faults_of_a_file_are_reported_at_once_with_line_and_key(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(
        "name: demo\nversion: 1.0\ntitel: Demo\nsummary:\nlicense: [x]\nlanguage: en\ntitle: t\nprinciples:\n"
        "  - id: a\n    title: A\n    statement: s\n    critique: c\n    revision: r\n    weight: heavy\n"
        "    group: {id: g, agres: 1}\n"
        "    examples:\n      - prompt: p\n        response: r\n        critique: c\n        revison: v\n"
        "  - title: no id\n    statement: s\n    critique: c\n    revision: r\n    compare: q\n"
        "  - just text\n"
    )
    assert failure(file).splitlines() == [
        f"{file}:2: version: '1.0' is not a version; expected MAJOR.MINOR.PATCH in whole numbers, like 1.0.0",
        f"{file}:3: titel: unknown key; did you mean 'title'?",
        f"{file}:4: summary: expected text, found nothing",
        f"{file}:5: license: expected text, found a list",
        f"{file}:9: principles[0].compare: this key is missing",
        f"{file}:14: principles[0].weight: expected a number, found 'heavy'",
        f"{file}:15: principles[0].group.agres: unknown key; did you mean 'agrees'?",
        f"{file}:17: principles[0].examples[0].revision: this key is missing",
        f"{file}:20: principles[0].examples[0].revison: unknown key; did you mean 'revision'?",
        f"{file}:21: principles[1].id: this key is missing",
        f"{file}:26: principles[2]: expected keys and values, found text",
    ]


def test_a_long_list_of_faults_is_cut_and_counted(tmp_path: Path) -> None:
    message = failure(write(tmp_path, principles=[{"id": f"p{i}"} for i in range(10)]))
    assert len(message.splitlines()) == 21
    assert message.endswith("and 30 more")


def test_duplicate_ids_name_both_lines(tmp_path: Path) -> None:
    file = write(tmp_path, principles=[principle("a"), principle("b"), principle("a")])
    lines = file.read_text().splitlines()
    first, second = (i for i, line in enumerate(lines, 1) if line == "- id: a")
    assert failure(file) == f"{file}:{second}: principles[2].id: 'a' is also the id of the principle on line {first}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a list", ":1: expected a mapping"),
        ("name: demo\nname: other\n", ":2: the key 'name' is given twice"),
        ("name: demo\n\tversion: 1.0.0\n", ":2: not YAML: a tab"),
        ("a: &a x\nb: &b [*a, *a]\n" + "".join(f"c{i}: *b\n" for i in range(200)), "more than 100 aliases"),
        ("principles: many", "principles: expected a list, found text"),
        ("principles:\n- {<<: {id: a}}", "principles[0].<<: unknown key"),
    ],
)
def test_a_broken_file_is_a_clear_error(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    assert expected in failure(file)


def test_a_file_without_principles_is_refused(tmp_path: Path) -> None:
    assert "no principles and no includes" in failure(write(tmp_path, principles=[]))


def test_missing_files_and_folders_are_clear_errors(tmp_path: Path) -> None:
    assert "there is no such file" in failure(tmp_path / "nowhere.yaml")
    assert "the file can't be read" in failure(tmp_path)
    assert "the file can't be read" in failure("a\0b.yaml")


def test_an_endless_file_is_refused() -> None:
    assert failure("/dev/zero") == "/dev/zero:1: the file has more than 1,048,576 bytes, too many for a constitution"


def test_names_resolve_to_the_newest_version_by_number(tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0"):
        publish(write(tmp_path, version=version), tmp_path / "root")
    assert load("demo", root=tmp_path / "root").version == "1.10.0"
    assert load("demo@1.9.0", root=tmp_path / "root").version == "1.9.0"


def test_unknown_names_and_versions_say_what_there_is() -> None:
    assert "did you mean 'harmlessness'?" in failure("harmlesness")
    assert "there is no version '9.9.9' of harmlessness; it has 1.0.0, 1.1.0" in failure("harmlessness@9.9.9")
    assert "it has 1.0.0" in failure("harmlessness@")


def test_a_changed_published_file_is_refused_by_name_and_free_to_edit_by_path(tmp_path: Path) -> None:
    file = publish(write(tmp_path), tmp_path / "root")
    file.write_text(file.read_text().replace("For tests.", "For tests!"))
    assert "demo@1.0.0 was changed after it was published" in failure("demo", root=tmp_path / "root")
    assert load(file).summary == "For tests!"


def test_an_unlisted_file_in_a_published_folder_is_refused(tmp_path: Path) -> None:
    publish(write(tmp_path), tmp_path / "root")
    write(tmp_path / "root", "demo/2.0.0.yaml", version="2.0.0")
    assert "demo@2.0.0 has no line in CHECKSUMS" in failure("demo", root=tmp_path / "root")


def test_includes_come_after_the_files_own_principles_with_their_priority(tmp_path: Path) -> None:
    root = tmp_path / "root"
    publish(write(tmp_path, "kind.yaml", principles=[principle("b", priority=2), principle("c", weight=3)]), root)
    includes = [{"ref": "demo@1.0.0", "priority": 7}]
    constitution = load(
        write(tmp_path, "top.yaml", name="top", includes=includes, principles=[principle("a")]), root=root
    )
    assert [(p.id, p.priority, p.weight) for p in constitution.principles] == [("a", 1, 1), ("b", 7, 1), ("c", 7, 3)]
    assert constitution.includes[0].digest == load("demo", root=root).digest


def test_an_include_without_a_priority_keeps_those_of_its_principles(tmp_path: Path) -> None:
    publish(write(tmp_path, principles=[principle("b", priority=2)]), tmp_path / "root")
    top = write(tmp_path, "top.yaml", name="top", includes=["demo@1.0.0"], principles=[])
    assert [p.priority for p in load(top, root=tmp_path / "root").principles] == [2]


def test_the_digest_follows_the_content_of_an_include(tmp_path: Path) -> None:
    """Also where only what no principle holds has changed."""
    digests = set()
    for folder, summary in (("one", "For tests."), ("two", "Other."), ("three", "For tests.")):
        publish(write(tmp_path, summary=summary), tmp_path / folder)
        top = write(tmp_path, "top.yaml", name="top", includes=["demo@1.0.0"], principles=[])
        digests.add(load(top, root=tmp_path / folder).digest)
    assert len(digests) == 2


def test_a_pinned_digest_must_be_the_includes(tmp_path: Path) -> None:
    publish(write(tmp_path), tmp_path / "root")
    right = load("demo", root=tmp_path / "root").digest
    for digest in (right, "0" * 64):
        include = {"ref": "demo@1.0.0", "digest": digest}
        top = write(tmp_path, "top.yaml", name="top", includes=[include], principles=[])
        if digest == right:
            load(top, root=tmp_path / "root")
        else:
            assert "not the one that is pinned" in failure(top, root=tmp_path / "root")


def test_an_id_that_an_include_brings_too_names_both_places(tmp_path: Path) -> None:
    published = publish(write(tmp_path), tmp_path / "root")
    top = write(tmp_path, "top.yaml", name="top", includes=["demo@1.0.0"])
    message = failure(top, root=tmp_path / "root")
    assert re.search(rf"{top}:\d+: demo@1.0.0 brings a principle 'be-kind', which is also at {top}:\d+", message)
    assert re.search(rf"{published}:\d+", message)


def test_an_include_cycle_is_named(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name, other in (("one", "two"), ("two", "one")):
        write(
            root, f"{name}/1.0.0.yaml", **header(name=name, includes=[f"{other}@1.0.0"], principles=[principle(name)])
        )
    _list_all(root)
    assert "the includes form a cycle: one@1.0.0 -> two@1.0.0 -> one@1.0.0" in failure("one", root=root)
    itself = write(tmp_path, "self.yaml", name="self", includes=["self@1.0.0"])
    assert "self@1.0.0 -> self@1.0.0" in failure(itself)


def test_an_include_of_a_missing_version_names_the_line_that_asks_for_it(tmp_path: Path) -> None:
    top = write(tmp_path, "top.yaml", name="top", includes=["honesty@1.0.0", "honesty@9.0.0"], principles=[])
    line = next(i for i, text in enumerate(top.read_text().splitlines(), 1) if "9.0.0" in text)
    assert f"{top}:{line}: there is no version '9.0.0' of honesty" in failure(top)


def test_a_published_file_must_be_what_its_path_says(tmp_path: Path) -> None:
    write(tmp_path, "demo/2.0.0.yaml", version="1.0.0")
    _list_all(tmp_path)
    assert "the file says that it is demo@1.0.0" in failure("demo", root=tmp_path)


def test_a_file_in_a_published_folder_finds_its_includes_there(tmp_path: Path) -> None:
    publish(write(tmp_path), tmp_path / "root")
    top = write(tmp_path, "top.yaml", name="top", includes=["demo@1.0.0"], principles=[])
    assert load(publish(top, tmp_path / "root")).principles[0].id == "be-kind"


def _list_all(root: Path) -> None:
    from constitution.library import checksum

    files = sorted(root.glob("*/*.yaml"))
    (root / "CHECKSUMS").write_text("".join(f"{checksum(f.read_bytes())}  {f.relative_to(root)}\n" for f in files))


def test_loading_sixteen_principles_takes_well_under_50_ms() -> None:
    load("helpfulness")
    times = []
    for _ in range(20):
        started = time.process_time()
        assert len(load("helpfulness").principles) == 16
        times.append(time.process_time() - started)
    assert min(times) < 0.05


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, constitution; print(sorted({'torch', 'numpy', 'pandas', 'rich', 'typer'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# --- properties -----------------------------------------------------------------------------------------------------

_KEYS = st.sampled_from(["name", "version", "title", "principles", "includes", "id", "examples", "group", "x"])
_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=12,
)
_FILE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def _load_bytes(folder: Path, content: bytes) -> None:
    file = folder / "any.yaml"
    file.write_bytes(content)
    try:
        load(file)
    except InputError as error:
        assert error.where.startswith(str(file))


@_FILE
@given(content=st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_but_input_errors(tmp_path: Path, content: bytes) -> None:
    _load_bytes(tmp_path, content)


@_FILE
@given(value=_JUNK)
def test_arbitrary_yaml_raises_nothing_but_input_errors(tmp_path: Path, value: object) -> None:
    _load_bytes(tmp_path, yaml.safe_dump(value).encode())


@_FILE
@given(key=_KEYS, value=_JUNK, inside=st.booleans())
def test_one_wrong_key_in_a_good_file_raises_nothing_but_input_errors(
    tmp_path: Path, key: str, value: object, inside: bool
) -> None:
    data = header(principles=[{**principle(), key: value}]) if inside else {**header(), key: value}
    _load_bytes(tmp_path, yaml.safe_dump(data).encode())


@_FILE
@given(cut=st.integers(0, 6000), junk=st.binary(max_size=4))
def test_a_damaged_shipped_file_raises_nothing_but_input_errors(tmp_path: Path, cut: int, junk: bytes) -> None:
    content = (shipped() / "harmlessness" / "1.0.0.yaml").read_bytes()
    _load_bytes(tmp_path, content[:cut] + junk + content[cut + 1 :])


@settings(_FILE, max_examples=30)
@given(seed=st.integers(0, 2**32), width=st.integers(20, 200))
def test_key_order_wrapping_and_comments_change_no_digest(tmp_path: Path, seed: int, width: int) -> None:
    chance = random.Random(seed)
    source = shipped() / "harmlessness" / "1.1.0.yaml"
    data = _shuffled(yaml.safe_load(source.read_text("utf-8")), chance)
    text = yaml.safe_dump(data, sort_keys=False, width=width, default_flow_style=chance.choice([None, False]))
    file = tmp_path / "shuffled.yaml"
    file.write_text(f"# a comment\n\n{text}\n# another\n", "utf-8")
    assert load(file).digest == load(source).digest


def _shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        items = [(key, _shuffled(inner, chance)) for key, inner in value.items()]
        chance.shuffle(items)
        return dict(items)
    return [_shuffled(inner, chance) for inner in value] if isinstance(value, list) else value


def test_the_shipped_folder_can_be_copied_and_used_as_a_root(tmp_path: Path) -> None:
    shutil.copytree(shipped(), tmp_path / "copy")
    assert load("hhh", root=tmp_path / "copy").digest == load("hhh").digest


def test_of_many_faults_the_first_are_explained_and_the_others_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained: list[str] = []
    module = sys.modules["constitution.load"]  # the package's own `load` is the function

    def counted(key: str, names: Iterable[str]) -> str | None:
        explained.append(key)
        return nearest(key, names)

    monkeypatch.setattr(module, "nearest", counted)
    file = tmp_path / "many.yaml"
    file.write_text("".join(f"k{number}: a\n" for number in range(5000)))
    with pytest.raises(InputError) as error:
        load(file)
    assert error.value.problem.startswith("k0: unknown key")  # line 1, as the six keys are that must be there
    assert "k13: unknown key" in error.value.problem and "k14: unknown key" not in error.value.problem
    assert error.value.problem.endswith(f"and {5000 + 6 - 20} more")
    assert len(explained) <= 20
    file.write_text("principles:\n" + "- {}\n" * 10_001)
    with pytest.raises(InputError, match="more than 10,000 principles"):
        load(file)

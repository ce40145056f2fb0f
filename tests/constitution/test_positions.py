"""YAML to data with lines: exact, and safe against whatever the text holds."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from constitution import positions
from constitution.positions import MAX_ALIASES, MAX_BYTES, MAX_DEPTH, YamlError, read_yaml


def test_every_key_and_item_has_its_line() -> None:
    document = read_yaml(b"# a comment\na: 1\nb:\n  - x\n  -\n    c: >\n      folded\n      text\n    d: {e: f}\n")
    assert document.data == {"a": "1", "b": ["x", {"c": "folded text\n", "d": {"e": "f"}}]}
    assert document.lines == {
        ("a",): 2,
        ("b",): 3,
        ("b", 0): 4,
        ("b", 1): 6,
        ("b", 1, "c"): 6,
        ("b", 1, "d"): 9,
        ("b", 1, "d", "e"): 9,
    }
    assert document.line(("b", 1, "missing", "deeper")) == 6
    assert document.line(()) == 1


def test_plain_scalars_are_text_whatever_yaml_thinks_they_are() -> None:
    assert read_yaml(b"[no, 1.0, 2024-01-01, 0x10, 'null', null, ~, '']").data == [
        *("no", "1.0", "2024-01-01", "0x10", "null"),
        *(None, None, ""),
    ]


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (b"a: 1\nb: 2\na: 3\n", 3, "the key 'a' is given twice; the first is on line 1"),
        (b"a:\n\tb: 1\n", 2, "tab"),
        (b"a: 1\n---\nb: 2\n", 2, "second document"),
        (b"", 1, "empty"),
        (b"# only a comment\n", 1, "empty"),
        (b"a: !!python/object/apply:os.system ['true']\n", 1, "tag"),
        (b"a: 1\nb: !mine x\n", 2, "tag"),
        (b"a: 1\n? [x, y]\n: z\n", 2, "key must be plain text"),
        (b"a: &x 1\n? *x\n: z\n", 2, "key must be plain text"),
        (b"a: &x [*x]\n", 1, "no finished anchor"),
        (b"a: *nothing\n", 1, "no finished anchor"),
        (b"a: 1\nb: \xff\n", 2, "not UTF-8"),
        (b"a: 'open\n", 2, "not YAML"),
        (b"a: \x00\n", 1, "not YAML"),
    ],
)
def test_bad_text_is_named_with_its_line(text: bytes, line: int, problem: str) -> None:
    with pytest.raises(YamlError, match=problem.replace("(", r"\(")) as caught:
        read_yaml(text)
    assert caught.value.line == line


@pytest.mark.parametrize("empty", [False, True])
def test_an_alias_bomb_is_refused_before_it_is_built(empty: bool) -> None:
    lines = ["a0: &a0 []" if empty else "a0: &a0 [x, x, x, x]"]
    lines += [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 30)]
    with pytest.raises(YamlError, match="aliases expanded"):  # built, it would fill the memory: 3 ** 29 values
        read_yaml("\n".join(lines).encode())


def test_aliases_count_with_all_that_is_in_them() -> None:
    """The anchored list has 1,000 values with itself, and 98 aliases of it make 98,000; the limit is 100,000."""
    anchored = "a: &a [" + ", ".join(["x"] * 999) + "]\nb: ["
    assert len(read_yaml(f"{anchored}{', '.join(['*a'] * 98)}]".encode()).data["b"]) == 98
    with pytest.raises(YamlError, match="more than 100,000 values, aliases expanded"):
        read_yaml(f"{anchored}{', '.join(['*a'] * 99)}]".encode())


def test_limits_hold_exactly() -> None:
    aliases = "a: &a x\nb: [" + ", ".join(["*a"] * MAX_ALIASES)
    assert len(read_yaml(f"{aliases}]".encode()).data["b"]) == MAX_ALIASES
    with pytest.raises(YamlError, match="aliases"):
        read_yaml(f"{aliases}, *a]".encode())
    assert read_yaml(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH).data
    with pytest.raises(YamlError, match="deep"):
        read_yaml(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))
    with pytest.raises(YamlError, match="bytes"):
        read_yaml(b"a: " + b"x" * MAX_BYTES)


def test_deep_nesting_exhausts_no_stack() -> None:
    for text in (b"[" * 100_000, b"{a: " * 100_000, b"- " * 100_000, b"? " * 100_000):
        with pytest.raises(YamlError):
            read_yaml(text)


def test_a_byte_order_mark_is_not_part_of_the_first_key() -> None:
    assert read_yaml(b"\xef\xbb\xbfa: 1").data == {"a": "1"}


@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
)
def test_arbitrary_bytes_raise_nothing_but_yaml_errors(content: bytes) -> None:
    try:
        read_yaml(content)
    except YamlError as error:
        assert error.line >= 1


_VALUES = st.recursive(
    st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


@given(_VALUES, st.booleans())
def test_parity_with_pyyaml_on_texts_lists_and_mappings(value: object, flow: bool) -> None:
    """The second implementation is PyYAML's own constructor: without tags and anchors both must read the same."""
    text = yaml.safe_dump(value, allow_unicode=True, default_flow_style=flow)
    assert read_yaml(text.encode()).data == yaml.safe_load(text)


def test_the_pure_python_parser_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyYAML comes without libyaml."""
    text = b"a: &x {b: ~, c: ''}\nd: [*x, y]\ne:\nf: |\n  g\n  h\n"
    fast = read_yaml(text)
    monkeypatch.setattr(positions, "_LOADER", yaml.SafeLoader)
    assert read_yaml(text) == fast
    with pytest.raises(YamlError, match="tab"):
        read_yaml(b"a:\n\tb: 1\n")


def test_whoever_reads_for_somebody_may_end_it_at_any_value() -> None:
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 50:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        read_yaml(b"- a\n" * 1000, look)
    assert looks == 50


def test_too_many_values_are_refused_where_they_are_too_many() -> None:
    with pytest.raises(YamlError) as error:
        read_yaml(b"- a\n" * 150_000)
    assert "more than 100,000 values" in error.value.problem
    assert 99_990 < error.value.line < 100_010

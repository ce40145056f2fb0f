"""A file of settings: three formats, one reading, and nothing is passed over."""

from pathlib import Path

import pytest

from base.errors import InputError
from base.settings_file import read_settings_file

SAME = {
    "run.yaml": "seed: 7\njudge: [a, b]\nratio: 0.5\ntruncate: true\nname: x\n",
    "run.yml": "{seed: 7, judge: [a, b], ratio: 0.5, truncate: true, name: x}",
    "run.json": '{"seed": 7, "judge": ["a", "b"], "ratio": 0.5, "truncate": true, "name": "x"}',
    "run.toml": 'seed = 7\njudge = ["a", "b"]\nratio = 0.5\ntruncate = true\nname = "x"\n',
}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_format_says_the_same(tmp_path: Path, name: str, mark: str) -> None:
    (tmp_path / name).write_text(mark + SAME[name], encoding="utf-8")
    expected = {"seed": 7, "judge": ["a", "b"], "ratio": 0.5, "truncate": True, "name": "x"}
    assert read_settings_file(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.yaml", "seed: 1\nother: 2\nseed: 3\n", "the key 'seed' is given twice, again on line 3"),
        ("a.yaml", "dpo: {beta: 1, beta: 2}", "the key 'beta' is given twice"),
        ("a.json", '{"seed": 1, "seed": 2}', "the key 'seed' is given twice"),
        ("a.toml", "seed = 1\nseed = 2\n", "it is no TOML"),
        ("a.yaml", "a: [", "it is no YAML"),
        ("a.json", "{", "it is no JSON"),
        ("a.yaml", "- a\n", "it holds no settings"),
        ("a.yaml", "", "it holds no settings"),
        ("a.json", "[]", "it holds no settings"),
        ("a.ini", "seed = 1", "the ending doesn't say"),
        ("a.yaml", "a: !!python/object:os.system x", "it is no YAML"),
    ],
)
def test_what_can_not_be_read_is_named(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=said) as error:
        read_settings_file(tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name))


def test_a_file_that_is_no_text_or_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="it is no YAML"):
        read_settings_file(tmp_path / "a.yaml")
    with pytest.raises(InputError, match="No such file"):
        read_settings_file(tmp_path / "none.yaml")


def test_a_merged_key_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: &b {beta: 1}\ndpo: {<<: *b, beta: 2}\n")
    assert read_settings_file(tmp_path / "a.yaml")["dpo"] == {"beta": 2}

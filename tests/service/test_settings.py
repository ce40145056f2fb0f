from pathlib import Path

import pytest

from base.errors import InputError
from service.settings import Settings


def test_what_is_said_goes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("port: 9000\nhost: 0.0.0.0\nengines: {judge: {spec: 'scripted:rules.yaml', mode: logprob}}\n")
    settings = Settings.read(file, port=9001, host=None, data=tmp_path)
    assert (settings.port, settings.host) == (9001, "0.0.0.0")
    assert settings.engine == "judge"
    assert settings.url == f"sqlite:///{tmp_path / 'cai.db'}"


def test_jobs_run_inside_only_where_no_other_machine_can(tmp_path: Path) -> None:
    assert Settings.read(None, data=tmp_path).runs_jobs
    assert not Settings.read(None, database="postgresql://h/d").runs_jobs
    assert Settings.read(None, database="postgresql://h/d", worker=True).runs_jobs


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prot: 80", "prot"),
        ("port: many", "port"),
        ("port: 70000", "port"),
        ("engines: {}", "at least one"),
        ("default_engine: strong", "strong"),
        ("engines: {judge: {model: x}}", "engines.judge.spec"),
        ("clusters: {big: ray:10001}", "this is no cluster"),
        ("clusters: {big: 'ray?nodes=2'}", "no option 'nodes'"),
        ("- port", "holds no settings"),
        ("a: [", "is no YAML"),
        ("", "holds no settings"),
    ],
)
def test_bad_settings_are_named(text: str, named: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as error:
        Settings.read(file)
    assert named in str(error.value)
    assert str(file) in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.yaml: it can't be read"):
        Settings.read(tmp_path / "nothing.yaml")

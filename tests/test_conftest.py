"""A machine that lacks something says so in the last lines, and under ``CAI_REQUIRE_ALL=1`` it fails."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TWO_TESTS = """
def test_one(cai_data): assert (cai_data / "README.md").exists()
def test_two(cai_data): pass
def test_three(): pass
"""


@pytest.fixture
def outer(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with this project's conftest and three tests, two of which need the data."""
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    pytester.makepyfile(TWO_TESTS)
    pytester.makeini("[pytest]\npythonpath = " + str(Path(__file__).parent.parent))
    monkeypatch.delenv("CAI_DATA", raising=False)
    monkeypatch.delenv("CAI_REQUIRE_ALL", raising=False)
    return pytester


def run(outer: pytest.Pytester) -> pytest.RunResult:
    return outer.runpytest_subprocess("-p", "no:cacheprovider")


@pytest.mark.slow
def test_what_is_missing_is_skipped_and_named_at_the_end(outer: pytest.Pytester) -> None:
    result = run(outer)
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["*not run on this machine*", "2 tests: CAI_DATA is not set*"])


@pytest.mark.slow
def test_what_is_missing_is_a_failure_where_all_is_required(
    outer: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAI_REQUIRE_ALL", "1")
    result = run(outer)
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["*CAI_REQUIRE_ALL=1, but this machine: CAI_DATA is not set*"])


@pytest.mark.slow
def test_what_is_there_is_used(
    outer: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("data")
    (folder / "README.md").touch()
    monkeypatch.setenv("CAI_DATA", str(folder))
    result = run(outer)
    result.assert_outcomes(passed=3)
    result.stdout.no_fnmatch_line("*not run on this machine*")

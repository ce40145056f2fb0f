"""Adds to tests/slow.txt what takes long: ``python -m pytest -m "not slow" -p tests.measured``, on a quiet machine.

What stands there is left out of `make check`, as what is marked slow. To measure all of it anew, empty the file first.
"""

import resource
from collections import defaultdict
from collections.abc import Generator

import pytest

from tests.together import SLOW, listed

AT_MOST = 0.1  # seconds of processor time, of the test and of processes that it waited for
TOGETHER = 0.1  # of all cases of a test: `make check` has a minute, on two cores

_spent_by: dict[str, float] = defaultdict(float)
_slow: set[str] = set()


def _spent() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Measure the test alone: its fixtures may be there for many."""
    before = _spent()
    try:
        return (yield)
    finally:
        item.user_properties.append((__name__, _spent() - before))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what took too long; with several workers, the process that started them is told of all."""
    spent = dict(report.user_properties).get(__name__)
    if report.when == "call" and isinstance(spent, float):
        name = report.nodeid.partition("[")[0]
        _spent_by[name] += spent
        if spent > AT_MOST or _spent_by[name] > TOGETHER:
            _slow.add(name)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the names, in order."""
    if not hasattr(session.config, "workerinput"):
        SLOW.write_text("".join(f"{name}\n" for name in sorted(listed() | _slow)))

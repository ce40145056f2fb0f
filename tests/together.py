"""Which tests take long, and which keep to one worker when several run side by side.

The latter share what is heavy, or there only once; every other test goes to whichever worker is free. (The mark
``xdist_group`` would say the same beside each test, but pytest-xdist 3.8 writes groups into names of tests in a way
that pytest 9.2 doesn't take: it does nothing, and says nothing.)
"""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

GROUPS: dict[str, tuple[str, ...]] = {
    # Servers and engines that take half a minute and some gigabytes each: one of each serves all of its tests.
    "vllm": (
        "tests/e2e/test_parity.py",
        "tests/e2e/test_thinking_server.py",
        "tests/e2e/test_vllm_engine.py",
        "tests/e2e/test_vllm_rollouts.py",
        "tests/e2e/test_vllm_server.py",
    ),
    # They look for Ray's actors among all processes of the machine.
    "ray": ("tests/e2e/test_ray.py", "tests/service/jobs/test_cluster_rows.py"),
    # One server and one browser.
    "pages": ("tests/service/web/",),
    # TRL, which takes seconds to import.
    "trl": (
        "tests/critic/rewarding/test_trl.py",
        "tests/critic/run/test_trl.py",
        "tests/trainers/test_group_advantage.py",
        "tests/trainers/test_parity_trl.py",
    ),
    # Trainers' own processes of other projects, and a server that they ask.
    "trainers of others": ("tests/e2e/test_rl_clients.py",),
    # The embedded model in an engine of its own, which proves itself as it opens.
    "embedded model": ("tests/critic/engines/test_embedded.py",),
    # What judges are shown of each text of the suite.
    "planted texts": ("tests/critic/evaluation/test_control_tokens.py",),
    # Runs that were simulated are remembered.
    "simulation": ("tests/test_simulate.py",),
    # A copy of the packages with foreign files in it: each is compiled once.
    "house": ("tests/contracts/test_house.py",),
    "commands": ("tests/contracts/test_found_commands.py",),
    "engine and mode": ("tests/contracts/test_foreign_kinds.py",),
}
FIXTURES = {"vllm_python": "vllm", "shared_site": "pages"}
SLOW = Path(__file__).with_name("slow.txt")
WHOLE = re.compile(r"^pytestmark = \[?[^\]]*?pytest\.mark\.slow\b", re.MULTILINE)
_GROUP_OF = {place: group for group, places in GROUPS.items() for place in places}


def group_of(nodeid: str) -> str:
    """The group of a test, which is the test alone where nothing is shared."""
    file = nodeid.partition("::")[0]
    return _GROUP_OF.get(file) or _GROUP_OF.get(f"{file.rpartition('/')[0]}/", nodeid)


@cache
def listed() -> frozenset[str]:
    """The tests that are slow by measurement: see tests/measured.py."""
    return frozenset(SLOW.read_text().split())


def is_listed(item: pytest.Item) -> bool:
    """Whether a test is slow by measurement."""
    return item.nodeid.partition("[")[0] in listed()


@cache
def is_slow_whole(file: Path) -> bool:
    """Whether all tests of a file are marked slow by it: a run without them need not import what they need."""
    return file.match("test_*.py") and WHOLE.search(file.read_text(encoding="utf-8")) is not None


def turn(item: pytest.Item) -> int:
    """When a test's turn is: first what is marked slow by hand, for seconds and minutes; then the merely slow."""
    marks = list(item.iter_markers("slow"))
    of_parameters = [mark for mark in getattr(getattr(item, "callspec", None), "marks", ()) if mark.name == "slow"]
    if len(marks) > len(of_parameters):
        return 0
    return 1 if marks or is_listed(item) else 2


def check(items: Sequence[pytest.Item]) -> None:
    """Raise `pytest.UsageError` where a test shares a heavy fixture, and its file isn't among those of the group."""
    for item in items:
        for fixture in FIXTURES.keys() & set(getattr(item, "fixturenames", ())):
            if group_of(item.nodeid) != FIXTURES[fixture]:
                raise pytest.UsageError(f"{item.nodeid} uses {fixture}: its file belongs into tests/together.py")


def scheduler(config: pytest.Config, log: Any) -> object:
    """Return what deals tests out to workers; groups go first, the largest before others."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

        def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
            """Forget what is done: after each test all that a worker ever had is counted, thousands in the end."""
            super().mark_test_complete(node, item_index, duration)
            kept = self.assigned_work[node]
            for scope in [scope for scope, tests in kept.items() if all(tests.values())]:
                del kept[scope]

    return Together(config, log)

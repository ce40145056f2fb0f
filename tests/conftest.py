"""What all tests share: the real data, the embedded model, a browser, and a plain word on what a machine can't run.

A test that needs something this machine lacks skips with the reason, and the last lines of a run name it. With
``CAI_REQUIRE_ALL=1`` (continuous integration) it fails instead. An ``async def`` test just works: pytest-asyncio runs
in auto mode, with a fresh event loop for every test.
"""

import gc
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

# Before anything imports a Hugging Face library: no test may reach for the hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Workers side by side share the cores: threads of one that wait for each other, spinning, take them from all others.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Ray's workers are nice by default (15): beside tests that compute they would hardly get a processor.
os.environ.setdefault("RAY_worker_niceness", "0")
# Nor does it kill its workers because other tests, or whoever else is on this machine, have taken the memory.
os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")

import hypothesis
import pytest

from tests import together

MISSING = "this machine: "

# Time limits are pytest-timeout's: a busy machine must not fail a property. CI repeats its examples, so that a red run
# can be run again; others draw new ones each time, and so find more than a greater number of the same would.
hypothesis.settings.register_profile("local", deadline=None, max_examples=60)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=60, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


def unavailable(reason: str) -> NoReturn:
    """Skip the test because this machine lacks something, or fail it under ``CAI_REQUIRE_ALL=1``."""
    if os.environ.get("CAI_REQUIRE_ALL") == "1":
        pytest.fail(f"CAI_REQUIRE_ALL=1, but {MISSING}{reason}", pytrace=False)
    pytest.skip(MISSING + reason)


@pytest.fixture(scope="session")
def cai_data() -> Path:
    """The folder of real data sets, from the environment's ``CAI_DATA``."""
    folder = os.environ.get("CAI_DATA")
    if not folder:
        unavailable("CAI_DATA is not set; it names the folder of real data sets")
    if not Path(folder).is_dir():
        unavailable(f"CAI_DATA names {folder}, which is no folder")
    return Path(folder)


@pytest.fixture(scope="session")
def embedded_model() -> Path:
    """The folder of the embedded model, fetched and converted on first use."""
    from base.errors import InputError
    from critic.local.embedded import fetch

    try:
        return fetch()
    except InputError as error:
        unavailable(f"the embedded model can't be fetched: {error}")


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The path of a Chromium that takes screenshots (start it with ``--no-sandbox``)."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return Path(path)
    unavailable("there is no chromium to open pages with; on Debian: apt-get install chromium")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files of slow tests alone where no slow test is asked for: reading them all takes half a minute."""
    if config.option.markexpr == "not slow" and collection_path.is_file() and together.is_slow_whole(collection_path):
        return True
    return None


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is slow. Several workers begin with the longest: short tests come last, so that all end together."""
    if hasattr(config, "workerinput"):
        together.check(items)
        items.sort(key=together.turn)
    for item in items:
        if together.is_listed(item):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Let no collection of garbage look through modules and tests: each of those that trainers ask for would."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)  # there without pytest-xdist, too
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Say which worker runs which tests."""
    return together.scheduler(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which parts of the suite this machine could not run, and why."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        _, mark, reason = str(report.longrepr[2]).partition(MISSING)
        if mark:
            reasons[reason] += 1
    if reasons:
        terminalreporter.section("not run on this machine")
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count} test{'s' if count > 1 else ''}: {reason}")

"""A run on a scripted engine, whose calls are logged."""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

from critic.records import Row
from critic.run.folder.store import RunStore
from critic.run.request import RunRequest
from critic.run.run import Outcome, run
from tests.factories import small_constitution

# Two samples, each critiqued and revised: 6 completions; 4 principles in both orders: 8 reads.
CALLS_A_ROW = 14


class Bench:
    """A folder with a constitution, a script that logs its calls, and prompts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"
        self.constitution = small_constitution(4)
        self.script: dict[str, Any] = {}
        self.prompts = [f"question {i}" for i in range(12)]

    def run(self, *, extend: bool = False, max_calls: int | None = None, **request: Any) -> Outcome:
        return asyncio.run(run(self.request(**request), self.out, extend=extend, max_calls=max_calls))

    def request(self, **more: Any) -> RunRequest:
        (self.folder / "c.yaml").write_text(yaml.safe_dump(self.constitution))
        (self.folder / "s.yaml").write_text(yaml.safe_dump(self.script | {"log": str(self.folder / "calls.log")}))
        (self.folder / "p.txt").write_text("".join(f"{p}\n" for p in self.prompts))
        spec = f"scripted:{self.folder / 's.yaml'}"
        request: dict[str, Any] = {
            "principles": str(self.folder / "c.yaml"),
            "source": str(self.folder / "p.txt"),
            "judges": (spec,),
            "policy": spec,
        }
        return RunRequest(**request | more)

    def calls(self) -> list[str]:
        """The calls since last asked."""
        log = self.folder / "calls.log"
        made = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return made

    def store(self) -> "closing[RunStore]":
        return closing(RunStore.open_existing(self.out))

    def rows(self) -> list[Row]:
        with self.store() as store:
            return list(store.rows())

"""What the commands of ``cai evaluate`` share: the principle to judge by, and a directory that keeps every answer."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path

from base.errors import InputError
from base.nearest import perhaps
from constitution import Constitution, Principle
from critic.engine import Identity
from critic.run.folder.store import RunStore
from service.cli.shown.voice import is_quiet


@contextmanager
def told(as_json: bool) -> Iterator[None]:
    """Where a measurement is told as JSON, what is for people goes to standard error; nowhere, where none is wanted."""
    if as_json or is_quiet():
        with io.StringIO() if is_quiet() else nullcontext(sys.stderr) as elsewhere, redirect_stdout(elsewhere):
            yield
    else:
        yield


def chosen_principle(constitution: Constitution, id: str | None) -> Principle:
    """Return the principle of that id, or the first."""
    known = [p.id for p in constitution.principles]
    if id is not None and id not in known:
        fix = f"{perhaps(id, known)}It has {', '.join(known)}"
        raise InputError(f"{constitution.ref} has no principle {id!r}", where="--principle", fix=fix)
    return constitution.principle(id or known[0])


def measurement_store(
    out: Path, extend: bool, kind: str, judge: Identity, principle: Principle | None = None
) -> RunStore:
    """Open the directory of a measurement of ``kind``; see `RunStore.open` for what it refuses."""
    settings = [list(setting) for setting in judge.settings]
    config = {"kind": kind, "judge": [judge.name, judge.revision, settings]}
    return RunStore.open(out, config | ({"principle": principle.digest} if principle else {}), extend=extend)

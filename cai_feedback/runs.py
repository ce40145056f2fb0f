"""Runs in a folder: what `cai generate` and `cai judge` do, and the rows that they leave."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from constitution import Constitution
from critic.records import Quarantined, Row
from critic.run.folder.reading import open_rows
from critic.run.request import RunRequest
from critic.run.run import Outcome, run


async def generate_async(
    principles: str | Constitution,
    prompts: str | Path,
    out: str | Path,
    *,
    policy: str,
    judges: str | Sequence[str],
    modes: Sequence[str] = (),
    limit: int | None = None,
    columns: str | None = None,
    extend: bool = False,
    max_calls: int | None = None,
    max_cost: float | None = None,
    **settings: Any,
) -> Outcome:
    """Sample answers to prompts, critique, revise and compare them, and write preference pairs into ``out``.

    The same call again goes on where one stopped, and repeats no finished call. Raises `InputError` for what can't be
    used, and `RunStopped` where an engine's fault concerns all rows.

    Parameters
    ----------
    principles: a constitution, its file, or ``NAME`` or ``NAME@VERSION`` of a published one.
    prompts: a file of prompts, in any shape that ``cai inspect`` reads.
    policy, judges: engine specs; several judges are a jury. ``modes`` are one for each, one for all, or none.
    limit: how many rows are read. ``columns`` maps names, as in ``prompt=question``.
    extend: go on with other settings than the folder's; only what changed is asked.
    max_calls, max_cost: the run stops before more calls, or dollars, than this.
    settings: those of `cai generate`, such as ``samples``, ``revisions``, ``strategy``, ``seed``.
    """
    request = _request(principles, prompts, policy, judges, modes, limit, columns, settings)
    return await run(request, Path(out), extend=extend, max_calls=max_calls, max_cost=max_cost)


async def judge_async(
    principles: str | Constitution,
    pairs: str | Path,
    out: str | Path,
    *,
    judges: str | Sequence[str],
    modes: Sequence[str] = (),
    limit: int | None = None,
    columns: str | None = None,
    extend: bool = False,
    max_calls: int | None = None,
    max_cost: float | None = None,
    **settings: Any,
) -> Outcome:
    """Compare answers that exist already, and write preference pairs into ``out``.

    ``pairs`` is a file of prompts with two or more answers, in any shape that ``cai inspect`` reads; all else is as in
    `generate_async`.
    """
    request = _request(principles, pairs, None, judges, modes, limit, columns, settings)
    return await run(request, Path(out), extend=extend, max_calls=max_calls, max_cost=max_cost)


def generate(
    principles: str | Constitution,
    prompts: str | Path,
    out: str | Path,
    *,
    policy: str,
    judges: str | Sequence[str],
    **options: Any,
) -> Outcome:
    """See `generate_async`, whose parameters it takes."""
    return asyncio.run(generate_async(principles, prompts, out, policy=policy, judges=judges, **options))


def judge(
    principles: str | Constitution,
    pairs: str | Path,
    out: str | Path,
    *,
    judges: str | Sequence[str],
    **options: Any,
) -> Outcome:
    """See `judge_async`, whose parameters it takes."""
    return asyncio.run(judge_async(principles, pairs, out, judges=judges, **options))


def rows(out: str | Path) -> Iterator[Row | Quarantined]:
    """Yield the rows of a run, then those that it could not finish, each with its reason.

    A run that is going on can be read, too. Raises `InputError` where there is none.
    """
    with closing(open_rows(Path(out))) as store:
        yield from store.rows()
        yield from store.quarantined()


def _request(
    principles: str | Constitution,
    source: str | Path,
    policy: str | None,
    judges: str | Sequence[str],
    modes: Sequence[str],
    limit: int | None,
    columns: str | None,
    settings: dict[str, Any],
) -> RunRequest:
    specs = (judges,) if isinstance(judges, str) else tuple(judges)
    return RunRequest(principles, str(source), specs, policy, tuple(modes), settings, limit=limit, columns=columns)

"""The engines that an administrator has configured, and the reward models that were trained here.

Requests can name no other: never a spec, a path or an address. Each is opened when it is first asked for, in a thread,
and shared by all; one that can't be opened is tried again after a few seconds.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Self, TypeVar

from sqlalchemy import select

from base.errors import InputError
from critic.calls.wrappers import Wrapper
from critic.engine import Engine, EngineError, Identity, Lane, Node, Request, RunStopped, Unavailable
from critic.engines import Spec, check_spec, open_engine, parse_options, parse_spec
from critic.judging import mode_of, settled
from critic.judging.base import Mode, SampledMode
from service.outward import metrics
from service.outward.public import public
from service.refusals import RETRY_SECONDS
from service.settings import Settings
from service.store.database import Database
from service.store.tables import models
from trainers import catalogue

TRAINED = "models/"  # before the name of a model that was trained here
MODES_KEPT = 1000
MOST_TRAINED = 4  # reward models that are open: requests name them, and each takes its memory
IDLE_SECONDS = 60.0  # after which one may be closed for another
OPENED_AT_ONCE = 2  # engines: each takes a thread for minutes
MOST_SAMPLES, MOST_TOKENS = 16, 2048  # of one read of a judge that writes, where a request chooses its mode

_REWARD_MODEL = Spec("rm", "", ())

log = logging.getLogger("cai.service")

T = TypeVar("T")


class SharedEngine(Wrapper):
    """An engine that many ask: counts what is asked, and keeps addresses and folders out of what it says."""

    def __init__(self, engine: Engine, name: str, spec: Spec) -> None:
        super().__init__(engine)
        own = engine.identity
        if name.startswith(TRAINED):
            known_as = name
        elif own.name.startswith("/"):
            known_as = Path(own.name).name
        else:
            known_as = own.name
        self._identity = Identity(known_as, own.revision, own.settings)
        self._name, self._target = name, spec.target
        self._suited: dict[Mode, Mode] = {}
        self._under_way, self._last_asked = 0, time.monotonic()
        self._told = (0, 0, 0.0)
        # Looking a metric up by its labels takes as long as counting it.
        self._batch, self._cost = metrics.BATCH.labels(name), metrics.COST.labels(name)
        self._prompt, self._written = (metrics.TOKENS.labels(name, what) for what in ("prompt", "completion"))

    @property
    def identity(self) -> Identity:
        """The engine's, by a name that tells nothing of this machine."""
        return self._identity

    @property
    def is_idle(self) -> bool:
        """Whether nobody has asked it for a while."""
        return not self._under_way and time.monotonic() - self._last_asked > IDLE_SECONDS

    async def suited(self, mode: Mode) -> Mode:
        """``mode`` as it suits the engine, which is tried on it once. Raises `InputError` where it can't be used."""
        suited = self._suited.get(mode)
        if suited is None:
            suited, _ = await settled(mode, self, "interactive")
            if len(self._suited) >= MODES_KEPT:  # requests write modes as they like
                self._suited.clear()
            self._suited[mode] = suited
        return suited

    async def _call(self, ask: Callable[[], Awaitable[T]], what: Request | Node, lane: Lane) -> T:
        waiting = metrics.WAITING.labels(self._name, lane)
        metrics.CALLS.labels(self._name, lane, "complete" if isinstance(what, Request) else "score").inc()
        self._under_way += 1
        self._batch.observe(self._under_way)
        waiting.inc()
        try:
            return await ask()
        except (EngineError, RunStopped) as error:
            error.args = (self._public(str(error)),)
            raise
        except (InputError, OSError) as error:  # the administrator's to mend, and written for their terminal
            log.error("the engine %s: %s", self._name, error)
            raise RunStopped(f"the engine {self._name} can't be used as it is set up") from None
        finally:
            self._under_way -= 1
            self._last_asked = time.monotonic()
            waiting.dec()
            self._count()

    def _count(self) -> None:
        """Count what the engine has used since it was last counted, by whichever call."""
        usage, (prompt, written, cost) = self.usage, self._told
        self._told = (usage.prompt_tokens, usage.completion_tokens, usage.cost)
        self._prompt.inc(usage.prompt_tokens - prompt)
        self._written.inc(usage.completion_tokens - written)
        self._cost.inc(usage.cost - cost)

    def _public(self, text: str) -> str:
        shown = text.replace(self._target, self._name) if self._target else text
        return public(re.sub(r"https?://[^\s),;]+", f"the engine {self._name}", shown))


def checked_engines(settings: Settings) -> dict[str, Spec]:
    """Return the engines' specs. Raises `InputError` for one that can never be used, as it is written.

    What it needs and isn't there (a file, a server) is no reason not to serve the others: it may come.
    """
    specs: dict[str, Spec] = {}
    for name, engine in settings.engines.items():
        try:
            specs[name] = parse_spec(engine.spec)
            check_spec(specs[name])
            mode_of(engine.mode, specs[name])
        except InputError as error:
            where = ": ".join(filter(None, (f"the engine {name}", error.where)))
            raise InputError(error.problem, where=where, fix=error.fix) from None
    return specs


class Engines:
    """All engines by name, for one event loop. Without a ``database`` no model that was trained here is known."""

    def __init__(self, settings: Settings, database: Database | None = None) -> None:
        self._settings, self._database = settings, database
        self._specs = checked_engines(settings)
        self._tasks: dict[str, asyncio.Task[SharedEngine]] = {}
        self._threads = ThreadPoolExecutor(OPENED_AT_ONCE, "open engine")  # not those that everything else waits for

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for opened in await asyncio.gather(*self._tasks.values(), return_exceptions=True):
            if isinstance(opened, SharedEngine):
                await opened.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def names(self) -> list[str]:
        """Those that are configured."""
        return list(self._specs)

    def kind(self, name: str) -> str:
        """What a configured engine is: ``embedded``, ``openai`` ..."""
        return self._specs[name].kind

    def opened(self, name: str) -> SharedEngine | None:
        """The engine, if it is open."""
        task = self._tasks.get(name)
        return task.result() if task is not None and task.done() and task.exception() is None else None

    async def get(self, name: str | None = None) -> SharedEngine:
        """The engine ``name``, or the default one, opened if need be.

        Raises `InputError` where there is none of that name, and `Unavailable` where it can't be opened now.
        """
        name = name or self._settings.engine
        task = self._tasks.get(name)
        if task is None:
            spec = await self._spec(name)
            if name.startswith(TRAINED):
                await self._make_room()
            task = self._tasks.get(name) or asyncio.create_task(self._open(name, spec), name=f"open {name}")
            self._tasks[name] = task
        # A caller that goes away must not stop the opening that others wait for.
        return await asyncio.shield(task)

    async def _make_room(self) -> None:
        """Close a reward model that nobody asks, where as many are open as may be. Raises `Unavailable` without one."""
        trained = [name for name in self._tasks if name.startswith(TRAINED)]
        if len(trained) < MOST_TRAINED:
            return
        for name in trained:
            engine = self.opened(name)
            if engine is not None and engine.is_idle:
                del self._tasks[name]
                await engine.close()
                return
        raise Unavailable(f"{MOST_TRAINED} reward models are open and asked; no more fit", IDLE_SECONDS)

    def mode(self, name: str | None = None, asked: str | None = None) -> Mode:
        """The judge mode that a request ``asked`` for, else the engine's own. Raises `InputError`."""
        name = name or self._settings.engine
        spec = self._specs.get(name)
        if spec is None and not name.startswith(TRAINED):
            raise self._unknown(name)
        if asked is not None:
            return _asked_mode(asked, spec or _REWARD_MODEL)
        return mode_of(self._settings.engines[name].mode, spec) if spec else mode_of(None, _REWARD_MODEL)

    async def _spec(self, name: str) -> Spec:
        if (spec := self._specs.get(name)) is not None:
            return spec
        if self._database is None or not name.startswith(TRAINED):
            raise self._unknown(name)
        query = select(models.c.trainer, models.c.folder).where(models.c.name == name.removeprefix(TRAINED))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise self._unknown(name)
        if not catalogue.gives_rewards(row.trainer):
            raise InputError(
                f"{name} was trained by {row.trainer}, and gives no rewards",
                where="engine",
                fix="Serve it (for example by vLLM), and have an administrator configure it as an engine.",
            )
        data = self._settings.data.resolve()
        folder = (data / "artifacts" / row.folder).resolve()
        if not folder.is_relative_to(data):
            raise InputError(f"the folder of {name} lies outside of the data folder", where="engine")
        return Spec("rm", str(folder), ())

    def _unknown(self, name: str) -> InputError:
        return InputError(
            f"there is no engine {name[:100]!r}",
            where="engine",
            fix=f"Configured: {', '.join(self._specs)}. A reward model trained here is models/NAME.",
        )

    async def _open(self, name: str, spec: Spec) -> SharedEngine:
        try:
            opening = asyncio.get_running_loop().run_in_executor(self._threads, open_engine, spec)
            return SharedEngine(await opening, name, spec)
        except Exception as error:  # torch, drivers and servers raise anything; whatever it is, the others go on
            log.error("the engine %s can't be opened: %s", name, error)
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._tasks.pop, name, None)
            raise Unavailable(f"the engine {name} can't be opened; the server's log says why", RETRY_SECONDS) from None


@lru_cache(maxsize=1024)
def _asked_mode(text: str, spec: Spec) -> Mode:
    """The mode that a request names. It can name no file, and not ask for more than is sensible."""
    _, question, query = text.partition("?")
    if question and "weights" in dict(parse_options(query, "mode")):
        raise InputError("weights are a file of the server", where="mode", fix="An administrator sets them.")
    try:
        mode = mode_of(text, spec)
    except InputError as error:
        raise InputError(error.problem, where="mode", fix=error.fix) from None
    if isinstance(mode, SampledMode) and mode.samples > MOST_SAMPLES:
        raise InputError(f"at most {MOST_SAMPLES} samples can be asked for", where="mode")
    if isinstance(mode, SampledMode) and mode.max_tokens is not None and mode.max_tokens > MOST_TOKENS:
        raise InputError(f"at most {MOST_TOKENS} tokens can be asked for", where="mode")
    return mode

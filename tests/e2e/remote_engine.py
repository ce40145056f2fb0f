"""An engine in another Python environment, used from this one: this file is both ends of the pipe between them.

The other end is this file run as a program. Requests, answers and errors cross as pickles, each with a number; any
number of them may be under way. Cancelling a call here cancels it there.
"""

import asyncio
import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from critic.engine import Completion, EngineError, Identity, Lane, Node, Request, Score, Usage
from critic.engines import open_engine, parse_spec


class RemoteEngine:
    """The engine of ``spec``, opened by the interpreter ``python``. For any event loop."""

    whole_trees = False

    def __init__(self, python: Path, spec: str, log: Path) -> None:
        self.closed = False
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [str(python), __file__, spec],
                cwd=log.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self._numbers = count()
        self._waiting: dict[int, Future[Any]] = {}
        self._writing = threading.Lock()
        self._reading = threading.Thread(target=self._receive, daemon=True)
        self._reading.start()
        self.identity: Identity = self._call("identity").result()
        self.capabilities: Mapping[str, str] = self._call("capabilities").result()

    @property
    def pid(self) -> int:
        """The process, which leads the process group of all that it started."""
        return self._process.pid

    @property
    def usage(self) -> Usage:
        usage: Usage = self._call("usage").result()
        return usage

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        completion: Completion = await asyncio.wrap_future(self._call("complete", request, lane))
        return completion

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        scores: tuple[Score, ...] = await asyncio.wrap_future(self._call("score", tree, lane))
        return scores

    async def close(self) -> None:
        self.closed = True
        await asyncio.wrap_future(self._call("close"))

    def prompts(self) -> list[list[int]]:
        """The token ids of all prompts that vLLM was given, in order."""
        ids: list[list[int]] = self._call("prompts").result()
        return ids

    def unfinished(self) -> int:
        """How many requests vLLM has under way."""
        number: int = self._call("unfinished").result()
        return number

    def end(self) -> None:
        """Close the engine and wait for the end of its process."""
        with contextlib.suppress(EngineError):
            self._call("close").result()
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(600)
        self._reading.join()
        self._process.stdout.close()

    def _call(self, verb: str, *arguments: object) -> "Future[Any]":
        number, future = next(self._numbers), Future[Any]()
        self._waiting[number] = future
        future.add_done_callback(lambda done: self._send(number, "cancel") if done.cancelled() else None)
        self._send(number, verb, *arguments)
        return future

    def _send(self, *message: object) -> None:
        assert self._process.stdin
        with self._writing:
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()

    def _receive(self) -> None:
        assert self._process.stdout
        with contextlib.suppress(EOFError):
            while True:
                number, answer = pickle.load(self._process.stdout)
                future = self._waiting.pop(number)
                if future.cancelled():
                    continue
                if isinstance(answer, BaseException):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(EngineError("the other process has ended"))


async def serve(spec: str, source: BinaryIO, sink: BinaryIO) -> None:
    """Open the engine and answer calls until there are no more."""
    loop, tasks = asyncio.get_running_loop(), dict[int, "asyncio.Task[None]"]()
    engine = open_engine(parse_spec(spec))
    watched = _watch(engine)

    async def answer(number: int, verb: str, arguments: tuple[Any, ...]) -> None:
        reply: object
        try:
            reply = watched.get(verb) or getattr(engine, verb)
            reply = reply(*arguments) if callable(reply) else reply
            reply = await reply if asyncio.iscoroutine(reply) else reply
        except asyncio.CancelledError:
            reply = None
        except Exception as error:  # whatever the engine raises is raised in the test
            reply = error
        pickle.dump((number, reply), sink)
        sink.flush()

    while message := await loop.run_in_executor(None, _next, source):
        number, verb, *arguments = message
        if verb == "cancel":
            tasks[number].cancel()
        else:
            tasks[number] = asyncio.create_task(answer(number, verb, tuple(arguments)))
    await asyncio.gather(*tasks.values())


def _watch(engine: Any) -> dict[str, Callable[[], object]]:
    """Return verbs that show what vLLM, under ``engine``, is given."""
    prompts: list[list[int]] = []
    generate = engine._llm.generate

    def watched(prompt: Any, *rest: Any, **named: Any) -> Any:
        prompts.append(prompt["prompt_token_ids"])
        return generate(prompt, *rest, **named)

    engine._llm.generate = watched
    return {"prompts": lambda: prompts, "unfinished": engine._llm.get_num_unfinished_requests}


def _next(source: BinaryIO) -> tuple[Any, ...] | None:
    try:
        message: tuple[Any, ...] = pickle.load(source)
        return message
    except EOFError:
        return None


if __name__ == "__main__":
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed must not get between the pickles
    asyncio.run(serve(sys.argv[1], sys.stdin.buffer, channel))

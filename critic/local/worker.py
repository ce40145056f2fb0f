"""The thread that owns a model: what it computes next, in which order, and together with what.

In one round it lets waiting requests join the answers under way, writes one token of each, and scores one pack of
trees, unless scoring has had half of the time already. Interactive requests go first: they have slots of their own,
and while one of them is under way no trees of the batch lane are scored. An exception costs only the request that
caused it: the group is then computed one by one.
"""

import contextlib
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel

from critic.chats.tokens import TokenTree, split
from critic.engine import EngineError, Lane, Node, Request, RequestTooLong, Score, Usage
from critic.local import allocator
from critic.local.loading import embedding_rows
from critic.local.proving.evidence import Scorer, Writers
from critic.local.proving.proof import Proof
from critic.local.trees.decoding import GrowingAnswer, TextCoder

_LANES: tuple[Lane, Lane] = ("interactive", "batch")
_IDLE = 0.2
"""Seconds without work after which the thread ends: its team of OpenMP's threads would slow all others down, such as
a trainer's in the same process (see `critic.local.openmp`). A new one takes a fraction of a millisecond."""


@dataclass(frozen=True)
class WorkerLimits:
    """``batch`` answers at a time, and ``interactive`` more for that lane; the tokens of one row and of the cache."""

    batch: int
    interactive: int
    row_tokens: int
    cached_tokens: int
    context: int
    alone: bool
    """Whether each request is computed on its own, so that its bits don't depend on the others."""


@dataclass(frozen=True)
class Ways:
    """How chats become tokens, and how the model computes: what an engine found when it was opened."""

    chat: TextCoder
    settings: tuple[tuple[str, str], ...]
    """What decides about the tokens beyond the tokenizer, as in `critic.engine.Identity`."""
    tree: Callable[[Node], TokenTree]
    score: Scorer
    writers: Writers
    proof: Proof
    stop_ids: frozenset[int] = frozenset()
    """The tokens that end an answer; none where nothing is written."""


@dataclass(eq=False)
class PendingRequest:
    """A request and the future that its caller waits for; what has come of it so far."""

    request: Request | Node
    lane: Lane
    future: Future[Any] = field(default_factory=Future)
    answer: GrowingAnswer | None = None
    pieces: list[TokenTree] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)


class Worker:
    """Runs jobs on a thread of its own, which ends when there are none and begins again with the next.

    Every job that was submitted ends: with a result or with `EngineError`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        ways: Ways,
        limits: WorkerLimits,
        usage: Usage,
    ) -> None:
        self._model, self._ways, self._limits, self._usage = model, ways, limits, usage
        if model.device.type == "cpu":
            allocator.keep_freed_memory()
        self._rows = embedding_rows(model)
        self._decoder = ways.writers(model, ways.chat, ways.stop_ids, limits.batch + limits.interactive)
        self._inbox: deque[PendingRequest] = deque()
        self._wake = threading.Condition()
        self._end = ""
        self._to_write: dict[Lane, deque[PendingRequest]] = {lane: deque() for lane in _LANES}
        self._to_score: dict[Lane, deque[PendingRequest]] = {lane: deque() for lane in _LANES}
        self._writing: list[PendingRequest] = []
        self._score_again = 0.0
        self._thread: threading.Thread | None = None

    def submit(self, job: PendingRequest) -> None:
        """Queue ``job``. Raises `EngineError` once the worker has ended."""
        with self._wake:
            if self._end:
                raise EngineError(self._end)
            self._inbox.append(job)
            self._wake.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="hf-engine", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread after the step that it is in, and every job that is left."""
        with self._wake:
            self._end = self._end or "the engine is closed"
            self._wake.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        try:
            with torch.inference_mode():
                while self._collect():
                    started = time.perf_counter()
                    self._admit()
                    self._write()
                    self._score()
                    self._usage.seconds_busy += time.perf_counter() - started
        except BaseException as error:  # whatever ends the thread is told to everyone who waits, then goes on
            self._fail_all(f"the engine's worker thread has died: {type(error).__name__}: {error}")
            raise
        if self._end:
            self._fail_all(self._end)

    def _fail_all(self, reason: str) -> None:
        """Let every job that is left fail for ``reason``, and those that come later."""
        with self._wake:
            self._end = reason
            left = [*self._inbox, *self._writing, *self._waiting()]
        for job in left:
            _fail(job, EngineError(reason))

    def _waiting(self) -> Iterator[PendingRequest]:
        for queues in (self._to_write, self._to_score):
            for lane in _LANES:
                yield from queues[lane]

    def _collect(self) -> bool:
        """Take in new jobs, waiting for one where there is nothing else to do. False once the thread is to end."""
        with self._wake:
            if not self._wake.wait_for(self._is_wanted, _IDLE):
                self._thread = None  # while the lock is held: the next job begins another
                return False
            if self._end:
                return False
            new = list(self._inbox)
            self._inbox.clear()
        for job in new:
            self._try([job], self._prepare)
        return True

    def _is_wanted(self) -> bool:
        """Whether there is something to do for the thread, be it to end the jobs that are left."""
        return bool(self._end or self._inbox or self._writing or any(self._waiting()))

    def _prepare(self, jobs: list[PendingRequest]) -> None:
        """Encode a job and put it in its queue."""
        (job,) = jobs
        request = job.request
        if isinstance(request, Request):
            sampling = request.sampling
            if sampling.max_tokens < 1:
                raise EngineError("max_tokens must be at least 1")
            prompt = self._ways.chat.encode(request.messages)
            self._check_length(len(prompt), sampling.max_tokens)
            self._check_ids(prompt)
            job.answer = GrowingAnswer(prompt, sampling, random.Random(request.seed))
            self._to_write[job.lane].append(job)
        else:
            tree = self._ways.tree(request)
            self._check_length(tree.longest, 0)
            for segment in tree.segments:
                self._check_ids(segment.ids)
            job.pieces = list(split(tree, self._limits.row_tokens))
            self._to_score[job.lane].append(job)

    def _check_length(self, tokens: int, more: int) -> None:
        if tokens + more > self._limits.context:
            asked = f"{tokens} tokens" + (f" and up to {more} more to write" if more else "")
            raise RequestTooLong(f"the chat holds {asked}; the model's context is {self._limits.context}")

    def _check_ids(self, ids: Sequence[int]) -> None:
        if ids and max(ids) >= self._rows:
            raise EngineError(f"the text has the token {max(ids)}; the model's embedding has {self._rows} rows")

    def _admit(self) -> None:
        """Let waiting answers join, as far as slots, cache and one row allow; one alone always may."""
        joining: list[PendingRequest] = []
        tokens = 0
        for lane in _LANES:
            slots = self._limits.batch + (self._limits.interactive if lane == "interactive" else 0)
            queue = self._to_write[lane]
            while queue and len(self._writing) + len(joining) < slots:
                if queue[0].future.cancelled():  # nobody waits for it any more: its prompt isn't read
                    queue.popleft()
                    continue
                answers = [job.answer for job in (*joining, queue[0]) if job.answer]
                tokens += len(answers[-1].prompt)
                room = tokens <= self._limits.row_tokens and self._decoder.fits(answers, self._limits.cached_tokens)
                if (self._writing or joining) and not room:
                    break
                joining.append(queue.popleft())
            if queue:  # what waits here must not be overtaken by the batch lane
                break
        if joining:
            self._try(joining, self._join)
            self._settle()

    def _join(self, jobs: list[PendingRequest]) -> None:
        answers = [job.answer for job in jobs if job.answer]
        self._decoder.prefill(answers)
        self._writing += jobs
        self._usage.prompt_tokens += sum(map(len, {answer.prompt for answer in answers}))

    def _write(self) -> None:
        """Write the next token of every answer under way."""
        if not self._writing:
            return
        try:
            self._decoder.step()
        except Exception:  # one of them did it: each goes on alone, and the culprit's caller is told
            for i, answer in enumerate(self._decoder.answers):
                if answer.done:
                    continue
                try:
                    self._decoder.step(i, 1)
                except Exception as error:  # whatever torch raises, it is this one's
                    answer.error = error
        self._settle()

    def _settle(self) -> None:
        """Hand over the answers that are done, and drop those that failed or that nobody waits for any more."""
        for job in list(self._writing):
            answer = job.answer
            assert answer is not None
            if not (answer.done or answer.error or job.future.cancelled()):
                continue
            # In this order: on a GPU that has failed for good this raises, and what is under way is told of that.
            self._decoder.remove(answer)
            self._writing.remove(job)
            self._usage.completion_tokens += len(answer.ids)
            if answer.done:
                self._finish(job, answer.done)
            elif answer.error:
                _fail(job, answer.error)

    def _score(self) -> None:
        """Score the next waiting trees of one lane, as many as one row holds; one alone always may."""
        queue = self._to_score["interactive"]
        if not queue:
            if any(job.lane == "interactive" for job in self._writing):
                return
            if self._writing and time.perf_counter() < self._score_again:
                return
            queue = self._to_score["batch"]
        jobs: list[PendingRequest] = []
        tokens = 0
        while queue:
            tokens += queue[0].pieces[0].tokens
            if jobs and (self._limits.alone or tokens > self._limits.row_tokens):
                break
            jobs.append(queue.popleft())
        started = time.perf_counter()
        self._try([job for job in jobs if not job.future.cancelled()], self._score_pieces)
        self._score_again = 2 * time.perf_counter() - started

    def _score_pieces(self, jobs: list[PendingRequest]) -> None:
        """Score the next piece of each job; those with more pieces go back to the head of their queue."""
        trees = [job.pieces[0] for job in jobs]
        for job, scores in zip(jobs, self._ways.score(self._model, trees), strict=True):
            job.scores += scores
            self._usage.prompt_tokens += job.pieces.pop(0).tokens
            if job.pieces:
                self._to_score[job.lane].appendleft(job)
            else:
                self._finish(job, tuple(job.scores))

    def _try(self, jobs: list[PendingRequest], action: Callable[[list[PendingRequest]], None]) -> None:
        """Do ``action`` for all ``jobs`` together; where that fails, for each alone, so that only the culprits fail."""
        if not jobs:
            return
        try:
            action(jobs)
        except Exception as error:  # torch and tokenizers raise anything
            if len(jobs) > 1:
                for job in jobs:
                    self._try([job], action)
            else:
                _fail(jobs[0], error)

    def _finish(self, job: PendingRequest, result: Any) -> None:
        self._usage.calls += 1
        if not job.future.cancelled():
            _set(job.future.set_result, result)


def _fail(job: PendingRequest, error: Exception) -> None:
    if not isinstance(error, EngineError):
        cause = error
        error = EngineError(f"the model could not compute this request: {type(cause).__name__}: {cause}")
        error.__cause__ = cause
    if not job.future.done():
        _set(job.future.set_exception, error)


def _set(setter: Callable[[Any], None], value: Any) -> None:
    """Set a future's outcome, unless its caller has cancelled it in this moment."""
    with contextlib.suppress(InvalidStateError):
        setter(value)

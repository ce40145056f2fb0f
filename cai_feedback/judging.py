"""A judge under a constitution, held open: it compares responses, and critiques and revises them."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from base.errors import InputError
from base.option import read
from constitution import Constitution, load
from critic.asking import compared, critiqued, drawn
from critic.engine import Engine, Sampling
from critic.engines import Spec, open_engine, parse_spec
from critic.judging import mode_of, settled
from critic.messages import Message
from critic.records import Chain, Prompt, Row
from critic.settings.judging import Pooling

Text = str | Sequence[Message | Mapping[str, Any]]
"""A prompt: the user's message, or a chat that ends with one."""
_POOLING = Pooling()


class AsyncJudge:
    """A judge whose answers are awaited. Open it with ``async with``.

    Parameters
    ----------
    spec: an engine spec, as in ``openai:MODEL@URL`` or ``embedded``.
    principles: a constitution, its file, or ``NAME`` or ``NAME@VERSION`` of a published one.
    mode: how it is asked, as in ``cot?samples=4``; by default as its kind of engine is.
    """

    def __init__(self, spec: str, principles: str | Path | Constitution, *, mode: str | None = None) -> None:
        self.spec = parse_spec(spec)
        self._mode = mode_of(mode, self.spec)
        self.constitution = principles if isinstance(principles, Constitution) else load(principles)
        self._engine: Engine | None = None

    async def __aenter__(self) -> Self:
        """Open the engine, and try it. Raises `InputError` where it can't be used."""
        engine = open_engine(self.spec)
        try:
            self._mode, _ = await settled(self._mode, engine)
        except BaseException:  # interrupted or not, what was opened is closed, and it goes on up
            await engine.close()
            raise
        self._engine = engine
        return self

    async def __aexit__(self, *_: object) -> None:
        engine, self._engine = self._opened, None
        await engine.close()

    async def compare(
        self,
        prompt: Text,
        responses: Sequence[str],
        *,
        judge_principles: int | None = None,
        tie_band: float = _POOLING.tie_band,
        seed: int = 0,
    ) -> Row:
        """Compare two or more responses, each pair of them by each principle in both orders.

        ``judge_principles`` draws so many principles; None means all. A probability within ``tie_band`` of 0.5 is a
        tie. The row has the judgements with their votes, and the preference pairs. Raises `EngineError` where the judge
        can't answer.
        """
        return await compared(
            self._opened,
            self._mode,
            self.constitution,
            _prompt(prompt),
            responses,
            judge_principles=judge_principles,
            pooling=read(Pooling, {"tie_band": tie_band}),
            seed=seed,
        )

    async def critique(
        self,
        prompt: Text,
        response: str | None = None,
        *,
        principle: str | None = None,
        rounds: int = 1,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Chain:
        """Critique and revise a response, ``rounds`` times; without one, the judge writes it first.

        ``principle`` is a principle's id; None draws one a round. The chain's ``final`` is the last revision. Raises
        `EngineError` where the judge can't answer.
        """
        chat = _prompt(prompt)
        chosen = drawn(self.constitution, chat, rounds, seed, principle)
        sampling = Sampling(max_tokens=max_tokens, temperature=temperature)
        return await critiqued(self._opened, chat, response, chosen, sampling, seed)

    @property
    def _opened(self) -> Engine:
        if self._engine is None:
            raise not_open(self.spec)
        return self._engine


class Judge:
    """A judge for programs that wait: `AsyncJudge`, with the same parameters and methods. Open it with ``with``."""

    def __init__(self, spec: str, principles: str | Path | Constitution, *, mode: str | None = None) -> None:
        self._judge = AsyncJudge(spec, principles, mode=mode)
        self._runner: asyncio.Runner | None = None

    @property
    def constitution(self) -> Constitution:
        """What it judges by."""
        return self._judge.constitution

    def __enter__(self) -> Self:
        """See `AsyncJudge.__aenter__`."""
        runner = asyncio.Runner()
        try:
            runner.run(self._judge.__aenter__())
        except BaseException:  # interrupted or not, what was opened is closed, and it goes on up
            runner.close()
            raise
        self._runner = runner
        return self

    def __exit__(self, *_: object) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            with runner:
                runner.run(self._judge.__aexit__())

    def compare(
        self,
        prompt: Text,
        responses: Sequence[str],
        *,
        judge_principles: int | None = None,
        tie_band: float = _POOLING.tie_band,
        seed: int = 0,
    ) -> Row:
        """See `AsyncJudge.compare`."""
        return self._open.run(
            self._judge.compare(prompt, responses, judge_principles=judge_principles, tie_band=tie_band, seed=seed)
        )

    def critique(
        self,
        prompt: Text,
        response: str | None = None,
        *,
        principle: str | None = None,
        rounds: int = 1,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Chain:
        """See `AsyncJudge.critique`."""
        return self._open.run(
            self._judge.critique(
                prompt,
                response,
                principle=principle,
                rounds=rounds,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
            )
        )

    @property
    def _open(self) -> asyncio.Runner:
        if self._runner is None:
            raise not_open(self._judge.spec)
        return self._runner


def not_open(spec: Spec) -> InputError:
    """Return what to raise where a judge is asked outside of its ``with`` block."""
    return InputError("the judge is not open", where=str(spec), fix="Use it in a `with` block.")


def _prompt(text: Text) -> Prompt:
    """Return the prompt. Raises `InputError` for a chat whose roles are out of order, and for an empty text."""
    turns = [{"role": "user", "content": text}] if isinstance(text, str) else list(text)
    try:
        return Prompt.model_validate({"messages": turns})
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(["prompt", *map(str, fault["loc"])])
        raise InputError(fault["msg"].removeprefix("Value error, "), where=place) from error

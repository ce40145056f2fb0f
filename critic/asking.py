"""One prompt, no files: a comparison of given responses, and a critique with its revision.

`cai compare` and `cai critique` are these functions, and so is the public API. Runs go `critic.pipeline`'s way, which
the comparison here goes, too.
"""

from collections.abc import Sequence

from base.digest import seed_of
from base.errors import InputError
from base.nearest import perhaps
from constitution import Constitution, Principle, sample
from critic.engine import Engine, Request, Sampling
from critic.feedback.feedback import SHOWS_NOTHING, blank_place
from critic.judging.base import Mode
from critic.judging.jury import Juror, Jury
from critic.pipeline import Pipeline
from critic.records import Chain, Item, Line, Prompt, Response, Row
from critic.revise import revise
from critic.settings.judging import Pooling

_POOLING = Pooling()


async def compared(
    engine: Engine,
    mode: Mode,
    constitution: Constitution,
    prompt: Prompt,
    responses: Sequence[str],
    *,
    judge_principles: int | None = None,
    pooling: Pooling = _POOLING,
    seed: int = 0,
) -> Row:
    """Compare two or more responses to a prompt, each pair of them by each principle in both orders.

    Raises `EngineError` where the engine can't answer, and `InputError` for fewer than two responses, and for one that
    shows nothing.
    """
    if len(responses) < 2:
        raise InputError("there are not two responses to compare", where="responses", fix="Give two or more.")
    given = tuple(Response(text=text, model="given") for text in responses)
    _refuse_blank(prompt, given)
    unused = Sampling(max_tokens=1)  # nothing is written: the responses are given
    pipeline = Pipeline(
        constitution,
        engine,
        engine,
        Jury((Juror(engine, mode),)),
        unused,
        unused,
        seed=seed,
        judge_principles=judge_principles,
        pooling=pooling,
        lane="interactive",
    )
    return await pipeline.run(Line(row=0, where="given", item=Item(prompt=prompt, responses=given)))


def _refuse_blank(prompt: Prompt, responses: Sequence[Response]) -> None:
    if (place := blank_place(prompt, responses)) is not None:
        raise InputError(SHOWS_NOTHING, where=place.removeprefix("/"), fix="Leave it out, or give a text.")


def drawn(constitution: Constitution, prompt: Prompt, rounds: int, seed: int, id: str | None = None) -> list[Principle]:
    """Return a principle for each round: the one with that ``id``, else one that is drawn.

    Raises `InputError` where there is none.
    """
    if id is not None and id not in {principle.id for principle in constitution.principles}:
        known = [principle.id for principle in constitution.principles]
        fix = f"{perhaps(id, known)}It has {', '.join(known)}"
        raise InputError(f"{constitution.ref} has no principle {id!r}", where="principle", fix=fix)
    pool = [p for p in constitution.principles if p.id == id or (id is None and p.applies(()))]
    if not pool:
        raise InputError(f"{constitution.ref} has no principle for prompts without tags", fix="Name one by its id.")
    return [sample(pool, seed=seed, prompt=prompt.key, round=round, k=1)[0] for round in range(rounds)]


async def critiqued(
    engine: Engine, prompt: Prompt, response: str | None, principles: Sequence[Principle], sampling: Sampling, seed: int
) -> Chain:
    """Critique and revise a response once for each principle; without a response the engine writes one first.

    Raises `EngineError` where the engine can't answer, and `InputError` for a response that shows nothing.
    """
    given = Response(text=response, model="given") if response is not None else None
    _refuse_blank(prompt, () if given is None else (given,))
    if given is None:
        request = Request(prompt.messages, sampling, seed_of(seed, prompt.key, "sample", 0))
        answer = await engine.complete(request, "interactive")
        given = Response(text=answer.text.strip(), model=engine.identity.name, finish=answer.finish)
    seeds = [seed_of(seed, prompt.key, "revise", 0, round) for round in range(len(principles))]
    return await revise(engine, prompt, given, principles, sampling, seeds, "interactive")

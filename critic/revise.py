"""Critique and revision, n rounds (Bai et al. 2022, "Constitutional AI", section 3): each round one sampled principle.

"Nothing to revise" is a real outcome, as are a critique or a revision that came back empty and a revision that changed
nothing: the round then leaves the response as it was, and the next round goes on from there.
"""

from collections.abc import Sequence
from typing import Literal

from constitution import Principle
from critic import prompts
from critic.engine import Completion, Engine, Lane, Request, Sampling, no_answer
from critic.records import Chain, Critique, Prompt, Response, Revision


async def revise(
    engine: Engine,
    prompt: Prompt,
    response: Response,
    principles: Sequence[Principle],
    sampling: Sampling,
    seeds: Sequence[int],
    lane: Lane = "batch",
) -> Chain:
    """Critique and revise ``response`` once for each of ``principles``, in order.

    ``seeds`` has one a round: the critique's; the revision takes the next number.
    """
    chain = Chain(original=response)
    for number, (principle, seed) in enumerate(zip(principles, seeds, strict=True)):
        revision = await _round(engine, prompt, chain.final, principle, number, sampling, seed, lane)
        chain = Chain(original=response, revisions=(*chain.revisions, revision))
    return chain


async def _round(
    engine: Engine,
    prompt: Prompt,
    response: Response,
    principle: Principle,
    number: int,
    sampling: Sampling,
    seed: int,
    lane: Lane,
) -> Revision:
    asked = prompts.critique_chat(prompt, response.text, principle, seed)
    answer = await engine.complete(Request(asked, sampling, seed), lane)
    said = answer.text.strip()
    critique = Critique(
        round=number,
        principle=principle.id,
        principle_digest=principle.digest,
        text=said,
        model=engine.identity.name,
        outcome=_outcome(answer),
        reasoning=answer.reasoning,
    )
    if critique.outcome != "critique":
        return Revision(critique=critique, outcome=critique.outcome, detail=_detail(answer))
    # The chat goes on from what was said: what was thought before it is nobody's turn.
    answer = await engine.complete(Request(prompts.revision_chat(asked, said, principle), sampling, seed + 1), lane)
    text = answer.text.strip()
    if not text:
        outcome: Literal["unreadable", "no_answer"] = "unreadable" if answer.reasoning is None else "no_answer"
        return Revision(critique=critique, outcome=outcome, detail=_detail(answer))
    if text == response.text:
        return Revision(critique=critique, outcome="unchanged")
    revised = Response(text=text, model=engine.identity.name, finish=answer.finish, reasoning=answer.reasoning)
    return Revision(critique=critique, response=revised, outcome="revised")


def _outcome(answer: Completion) -> Literal["critique", "nothing_to_revise", "unreadable", "no_answer"]:
    """What a critique comes to."""
    if not answer.text.strip():
        return "unreadable" if answer.reasoning is None else "no_answer"
    return "nothing_to_revise" if prompts.finds_nothing(answer.text) else "critique"


def _detail(answer: Completion) -> str:
    return "" if answer.text.strip() or answer.reasoning is None else no_answer(answer)

"""Critique and revision, n rounds (Bai et al. 2022, "Constitutional AI", section 3): each round one sampled principle.

"Nothing to revise" is a real outcome, as are a critique or a revision that came back empty and a revision that changed
nothing: the round then leaves the response as it was, and the next round goes on from there.
"""

from collections.abc import Sequence

from constitution import Principle
from critic import prompts
from critic.engines.base import Engine, Lane, Request, Sampling
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
    said = (await engine.complete(Request(asked, sampling, seed), lane)).text.strip()
    critique = Critique(
        round=number,
        principle=principle.id,
        principle_digest=principle.digest,
        text=said,
        model=engine.identity.name,
        outcome="unreadable" if not said else "nothing_to_revise" if prompts.finds_nothing(said) else "critique",
    )
    if critique.outcome != "critique":
        return Revision(critique=critique, outcome=critique.outcome)
    answer = await engine.complete(Request(prompts.revision_chat(asked, said, principle), sampling, seed + 1), lane)
    text = answer.text.strip()
    if not text:
        return Revision(critique=critique, outcome="unreadable")
    if text == response.text:
        return Revision(critique=critique, outcome="unchanged")
    revised = Response(text=text, model=engine.identity.name, finish=answer.finish)
    return Revision(critique=critique, response=revised, outcome="revised")

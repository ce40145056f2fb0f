"""``cai critique``: one prompt, no files; every record is printed."""

from typing import Annotated

import typer

from constitution import load
from critic.asking import critiqued, drawn
from critic.engine import Sampling
from service.cli.given.config import ConfigFile
from service.cli.given.options import (
    INPUT,
    SAMPLING,
    Json,
    JudgeSpec,
    Principles,
    Seed,
)
from service.cli.given.roots import Root
from service.cli.runs.asked import MaxTokens, PromptText, print_record, prompt_of, with_engine
from service.cli.shown.display import print_chain

pass


def critique(
    principles: Principles,
    prompt_text: PromptText,
    response: Annotated[
        str | None, typer.Option(help="The response to work on; the judge writes one if none.", rich_help_panel=INPUT)
    ] = None,
    judge: JudgeSpec = "embedded",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of critique and revision.", rich_help_panel=SAMPLING)] = 1,
    principle: Annotated[
        str | None, typer.Option(help="The id of the principle; otherwise one is drawn a round.", rich_help_panel=INPUT)
    ] = None,
    max_tokens: MaxTokens = 256,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.", rich_help_panel=SAMPLING)] = 0.0,
    seed: Seed = 0,
    root: Root = None,
    as_json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Critique a response, and revise it."""
    constitution, prompt = load(principles), prompt_of(prompt_text)
    chosen = drawn(constitution, prompt, rounds, seed, principle)
    sampling = Sampling(max_tokens=max_tokens, temperature=temperature)
    chain = with_engine(judge, lambda engine: critiqued(engine, prompt, response, chosen, sampling, seed))
    if as_json:
        print_record(chain, constitution)
    else:
        print_chain(prompt, chain)

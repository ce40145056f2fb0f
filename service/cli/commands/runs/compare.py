"""``cai compare``: one comparison, no files; every record is printed."""

from typing import Annotated

import typer

from base.errors import InputError
from constitution import load
from critic.asking import compared
from critic.engine import Engine
from critic.engines import parse_spec
from critic.judging import mode_of
from critic.records import Row
from service.cli.given.config import ConfigFile
from service.cli.given.options import (
    INPUT,
    JUDGING,
    Json,
    JudgePrinciples,
    JudgeSpec,
    Principles,
    Seed,
    TieBand,
    principles_count,
)
from service.cli.given.roots import Root
from service.cli.runs.asked import PromptText, print_record, prompt_of, with_engine
from service.cli.shown.display import print_comparison


def compare(
    principles: Principles,
    prompt_text: PromptText,
    response: Annotated[
        list[str], typer.Option(help="A response to compare; give it twice or more.", rich_help_panel=INPUT)
    ],
    judge: JudgeSpec = "embedded",
    mode: Annotated[
        str | None,
        typer.Option(
            help="The judge mode, with options as in cot?samples=4. Default: by engine.", rich_help_panel=JUDGING
        ),
    ] = None,
    judge_principles: JudgePrinciples = "all",
    tie_band: TieBand = 0.02,
    seed: Seed = 0,
    root: Root = None,
    as_json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Say which of two or more responses is better, principle by principle."""
    if len(response) < 2:
        raise InputError("there is one response", where="--response", fix="Give --response twice or more.")
    constitution, prompt = load(principles), prompt_of(prompt_text)
    how, count = mode_of(mode, parse_spec(judge)), principles_count(judge_principles)

    async def ask(engine: Engine) -> Row:
        return await compared(
            engine, how, constitution, prompt, response, judge_principles=count, tie_band=tie_band, seed=seed
        )

    row = with_engine(judge, ask)
    if as_json:
        print_record(row, constitution)
    else:
        print_comparison(row, {p.id: p for p in constitution.principles})

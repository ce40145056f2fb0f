"""``cai compare``: one comparison, no files; every record is printed."""

from base.errors import InputError
from constitution import load
from critic.asking import compared
from critic.engine import Engine
from critic.engines import parse_spec
from critic.judging import mode_of
from critic.records import Row
from critic.settings.asking import CompareSettings
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.given.roots import Root
from service.cli.runs.asked import print_record, prompt_of, with_engine
from service.cli.shown.display import print_comparison
from service.cli.shown.voice import Quiet, is_quiet


@expand
def compare(
    settings: CompareSettings, root: Root = None, as_json: Json = False, quiet: Quiet = False, config: ConfigFile = None
) -> None:
    """Say which of two or more responses is better, principle by principle."""
    if len(settings.response) < 2:
        raise InputError("there is one response", where="--response", fix="Give --response twice or more.")
    constitution, prompt = load(settings.principles), prompt_of(settings.prompt)
    how = mode_of(settings.mode, parse_spec(settings.judge))

    async def ask(engine: Engine) -> Row:
        return await compared(
            engine,
            how,
            constitution,
            prompt,
            settings.response,
            judge_principles=settings.judge_principles,
            pooling=settings.pooling(),
            seed=settings.seed,
        )

    row = with_engine(settings.judge, ask)
    if as_json:
        print_record(row, constitution)
    elif not is_quiet():
        print_comparison(row, {p.id: p for p in constitution.principles})

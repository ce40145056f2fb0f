"""``cai critique``: one prompt, no files; every record is printed."""

from constitution import load
from critic.asking import critiqued, drawn
from critic.engine import Sampling
from critic.settings.asking import CritiqueSettings
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.given.roots import Root
from service.cli.runs.asked import print_record, prompt_of, with_engine
from service.cli.shown.display import print_chain
from service.cli.shown.voice import Quiet, is_quiet


@expand
def critique(
    settings: CritiqueSettings,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Critique a response, and revise it."""
    constitution, prompt, seed = load(settings.principles), prompt_of(settings.prompt), settings.seed
    chosen = drawn(constitution, prompt, settings.rounds, seed, settings.principle)
    sampling = Sampling(max_tokens=settings.max_tokens, temperature=settings.temperature)
    chain = with_engine(
        settings.judge, lambda engine: critiqued(engine, prompt, settings.response, chosen, sampling, seed)
    )
    if as_json:
        print_record(chain, constitution)
    elif not is_quiet():
        print_chain(prompt, chain)

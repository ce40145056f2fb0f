"""``cai judge``: a run over answers that exist, in a directory."""

from critic.settings.run import GenerateSettings, JudgeSettings
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import DryRun, Json
from service.cli.given.roots import Root
from service.cli.runs.started import plan, request_of, start
from service.cli.shown.voice import Quiet

Settings = GenerateSettings | JudgeSettings


@expand
def judge(
    settings: JudgeSettings,
    dry_run: DryRun = False,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Compare answers that exist already, and write preference pairs."""
    request = request_of(settings, settings.pairs, None)
    plan(request, settings, as_json) if dry_run else start(request, settings, as_json)

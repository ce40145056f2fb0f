"""The public Python API of cai-feedback. What is named here is documented, typed and stable; all else may change.

    from cai_feedback import Judge

    with Judge("openai:my-org/my-judge@http://127.0.0.1:8001/v1", "honesty") as judge:
        row = judge.compare("What is the capital of Peru?", ["Lima.", "Cusco, I think."])
        print(row.judgements[0].probability)

- `load_constitution`: a constitution file, or a published one by its name.
- `Judge`, `AsyncJudge`: compare responses to a prompt, or critique and revise one, without files.
- `generate`, `judge` and, to be awaited, `generate_async`, `judge_async`: runs in a folder, as the commands of these
  names make them; the same call again goes on where one stopped. `rows` reads what a run has made.
- `train`: a training run in a folder. It needs the extra ``train``.
- `Client`, `AsyncClient`: a service's HTTP API. What it refuses is raised as `Refused`.

Errors that a person can mend are `InputError`, which says where, what is wrong and what to do; `EngineError` is a model
or server that could not answer, and `RunStopped` a fault of one that concerns all rows.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from base.errors import InputError
    from cai_feedback.judging import AsyncJudge, Judge
    from cai_feedback.runs import generate, generate_async, judge, judge_async, rows
    from cai_feedback.training import train
    from constitution import Constitution, Principle
    from constitution import load as load_constitution
    from critic.engine import EngineError, RunStopped
    from critic.messages import Message
    from critic.records import Chain, Judgement, PreferencePair, Prompt, Quarantined, Response, Row, Vote
    from critic.run.run import Outcome
    from service.client import AsyncClient, Client, Refused

__version__ = version("cai-feedback")

# Where each name is from: it is imported when it is first used, for a client needs nothing of what judges.
_PLACES = {
    "AsyncClient": "service.client:AsyncClient",
    "AsyncJudge": "cai_feedback.judging:AsyncJudge",
    "Chain": "critic.records:Chain",
    "Client": "service.client:Client",
    "Constitution": "constitution:Constitution",
    "EngineError": "critic.engine:EngineError",
    "InputError": "base.errors:InputError",
    "Judge": "cai_feedback.judging:Judge",
    "Judgement": "critic.records:Judgement",
    "Message": "critic.messages:Message",
    "Outcome": "critic.run.run:Outcome",
    "PreferencePair": "critic.records:PreferencePair",
    "Principle": "constitution:Principle",
    "Prompt": "critic.records:Prompt",
    "Quarantined": "critic.records:Quarantined",
    "Refused": "service.client:Refused",
    "Response": "critic.records:Response",
    "Row": "critic.records:Row",
    "RunStopped": "critic.engine:RunStopped",
    "Vote": "critic.records:Vote",
    "generate": "cai_feedback.runs:generate",
    "generate_async": "cai_feedback.runs:generate_async",
    "judge": "cai_feedback.runs:judge",
    "judge_async": "cai_feedback.runs:judge_async",
    "load_constitution": "constitution:load",
    "rows": "cai_feedback.runs:rows",
    "train": "cai_feedback.training:train",
}

__all__ = [
    "AsyncClient",
    "AsyncJudge",
    "Chain",
    "Client",
    "Constitution",
    "EngineError",
    "InputError",
    "Judge",
    "Judgement",
    "Message",
    "Outcome",
    "PreferencePair",
    "Principle",
    "Prompt",
    "Quarantined",
    "Refused",
    "Response",
    "Row",
    "RunStopped",
    "Vote",
    "__version__",
    "generate",
    "generate_async",
    "judge",
    "judge_async",
    "load_constitution",
    "rows",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import what is named; see `_PLACES`."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place, _, own = _PLACES[name].partition(":")
    globals()[name] = value = getattr(import_module(place), own)
    return value


def __dir__() -> list[str]:
    return __all__

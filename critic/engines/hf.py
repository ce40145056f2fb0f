"""The `hf` engine: a transformers model in this process.

One thread owns the model (`worker.Worker`); callers on any event loop wait for their requests' futures.
"""

from critic.engine import Engine
from critic.engine_kinds.kind import EngineKind
from critic.local.local_options import WRITING


def _open(path_or_id: str, options: dict[str, str]) -> Engine:
    from critic.local.language_model import open_engine  # loads torch

    return open_engine(path_or_id, options)


ENGINE = EngineKind(
    name="hf", open=_open, target="PATH_OR_ID", options=WRITING, proves=True, is_trainable=True, holds_weights=True
)

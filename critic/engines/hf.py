"""The `hf` engine: a transformers model in this process.

A folder in Hugging Face's form, or a model's name on the hub. Weights are read from safetensors only, and no code that
comes with a model is run. One thread computes with the model; requests of any event loop wait for it.
"""

from critic.engine import Engine
from critic.engine_kinds.kind import EngineKind
from critic.engine_kinds.model_files import expect_here, expect_to_load
from critic.local.local_options import WRITING


def _open(path_or_id: str, options: dict[str, str]) -> Engine:
    from critic.local.language_model import open_engine  # loads torch

    return open_engine(path_or_id, options)


ENGINE = EngineKind(
    name="hf",
    open=_open,
    expect_here=expect_here,
    expect_there=expect_to_load,
    target="PATH_OR_ID",
    options=WRITING,
    proves=True,
    is_trainable=True,
    holds_weights=True,
)

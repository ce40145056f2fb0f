"""A training run in a folder: what `cai train` does."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.extras import require
from base.settings_file import read_settings_file

if TYPE_CHECKING:
    from trainers.folder.results import Trained


def train(method: str, *, config: str | Path | None = None, **settings: Any) -> "Trained":
    """Train by ``method`` (``sft``, ``reward``, ``dpo``, ...), or go on with it, and return what came of it.

    ``config`` is a file of settings (YAML, JSON or TOML), and ``settings`` go before what it says; ``output_dir`` and
    ``data`` are needed. A finished run is left as it is. Raises `InputError` for a setting that is unknown or does not
    fit, and where the extra ``train`` is not installed.
    """
    require("train", "train")
    from trainers.run import train_by  # late, because PyTorch is an extra

    given = {} if config is None else read_settings_file(Path(config))
    return train_by(method, given | settings, str(config or "train"))

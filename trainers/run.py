"""One training run, from a config to a model folder: the same command again goes on where it stopped.

``output_dir`` holds ``run.json`` (what the run is: settings, data, parent model), ``checkpoint-N`` folders,
``metrics.jsonl``, ``refused.jsonl`` (rows that were not trained on, each with its reason), and in the end the model
itself with `trainers.folder.results`' files, of which ``lineage.json`` comes last: a folder with one is finished.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from trainers import method
from trainers.config import TrainConfig, build
from trainers.folder.identity import LINEAGE
from trainers.folder.results import Trained
from trainers.method import Tell


def train(config: TrainConfig, callbacks: Sequence[TrainerCallback] = (), tell: Tell = lambda counts: None) -> Trained:
    """Train what ``config`` says, or go on with it; a finished run is left as it is.

    The class of ``config`` says by which method. ``tell`` hears what is trained on before the first step. Raises
    `InputError` for whatever a person has to mend.
    """
    chosen = method.of(config)
    chosen.check(config)
    if not (Path(config.output_dir or "") / LINEAGE).is_file():  # what is finished needs nothing any more
        chosen.expect(config)
    return chosen.train(config, callbacks, tell)


def train_by(name: str, settings: Mapping[str, Any], where: str) -> Trained:
    """Train by the method of this name, as `train` does. Raises `InputError`, with ``where``, for its settings."""
    return train(build(method.load(name).config, dict(settings), where))

"""Reward model: one number an answer (and group), learnt from pairs, rankings and ratings together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from base.errors import InputError
from critic.local.rewards import UNGROUPED, Manifest, head_of
from critic.records import Quarantined
from critic.statistics.calibration import expected_calibration_error
from trainers import losses
from trainers.batches.data import Data, from_rows
from trainers.batches.examples import Example, Pair, Ranked, Rated
from trainers.batches.inputs import Examples, Inputs
from trainers.config import TrainConfig
from trainers.models import Trainee, reward_model
from trainers.offline import Offline
from trainers.planning.records import Needs
from trainers.trainer import TreeTrainer, Watched


@dataclass
class RewardConfig(TrainConfig):
    """Settings of `RewardTrainer`."""

    heads: Literal["pooled", "groups"] = "pooled"
    """One head for the labels of all people, or one for each group that the data names."""


def heads(examples: Sequence[Example], config: RewardConfig) -> tuple[str, ...]:
    """Return the names of the heads that a reward model for ``examples`` has: see `RewardConfig`."""
    if config.heads == "pooled":
        return (UNGROUPED,)
    return tuple(sorted({head_of(example.group) for example in examples}))


class RewardTrainer(TreeTrainer):
    """Bradley-Terry on pairs (soft labels, margins, ties), Plackett-Luce on rankings, cross-entropy on ratings.

    ``manifest`` names the model's heads. Each example teaches the head of its group, or the only one.
    """

    wanted = (Pair, Ranked, Rated)
    reward = True
    args: RewardConfig

    def __init__(self, *args: Any, manifest: Manifest | None = None, **others: Any) -> None:
        self.manifest = manifest or Manifest(heads=(UNGROUPED,))
        super().__init__(*args, **others)
        rows = int(self.model.config.num_labels)
        if rows != len(self.manifest.heads):
            raise InputError(
                f"the model has {rows} heads, and {len(self.manifest.heads)} are named",
                where=self.args.model,
                fix="load it with num_labels, one a group",
            )

    def losses(self, values: Tensor, inputs: Inputs) -> tuple[Tensor, Watched]:
        """Return the loss of each example; ``values`` are all heads' rewards of all answers, ``[A, heads]``."""
        losses: list[Tensor] = []
        watched: dict[str, list[Tensor]] = {}
        first = 0
        for example in inputs.examples:
            last = first + len(example.answers)
            scores = values[first:last, self._head(example)]
            losses.append(self._loss(example, scores))
            for name, value in self._watch(example, scores, inputs.batch.lengths[first:last]).items():
                watched.setdefault(name, []).append(value)
            first = last
        return torch.stack(losses), {name: torch.stack(values) for name, values in watched.items()}

    def figures(self, watched: Mapping[str, list[float]]) -> dict[str, float]:
        """Return accuracy, NLL and calibration on pairs with a preferred side, and the correlation with length."""
        figures = {
            name: float(np.mean(watched[name])) for name in ("rewards/chosen", "rewards/rejected") if name in watched
        }
        difference, label = np.array(watched.get("difference", ())), np.array(watched.get("label", ()))
        decided = label != 0.5
        if decided.any():
            better = np.where(label > 0.5, difference, -difference)[decided]
            figures["accuracy"] = float(np.mean((better > 0) + 0.5 * (better == 0)))
            figures["nll"] = float(np.mean(np.logaddexp(0, -better)))
            probability = 1 / (1 + np.exp(-np.abs(difference[decided])))
            right = np.sign(difference[decided]) == np.sign(label[decided] - 0.5)
            figures["calibration_error"] = expected_calibration_error(probability, right)
        longer = np.array(watched.get("longer", ()))
        if len(longer) > 1 and np.std(longer) > 0 and np.std(difference) > 0:
            figures["length_correlation"] = float(np.corrcoef(difference, longer)[0, 1])
        return figures

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model, and beside it ``reward.json`` with the names of its heads."""
        super().save_model(output_dir, _internal_call)
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir or "")
            folder.mkdir(parents=True, exist_ok=True)  # of a sharded checkpoint the weights come later
            self.manifest.write(folder)

    def _examples(self, given: Data | Sequence[Mapping[str, Any]], name: str) -> Examples:
        """Refuse the rows of groups that have no head."""
        data = given if isinstance(given, Data) else from_rows(given, self.wanted, name)
        known, refused = [], list(data.refused)
        for row, example in enumerate(data.examples):
            if len(self.manifest.heads) == 1 or head_of(example.group) in self.manifest.heads:
                known.append(example)
                continue
            detail = f"no head for {head_of(example.group)}; there are {', '.join(self.manifest.heads)}"
            refused.append(Quarantined(row=row, where=example.where, reason="no_head", detail=detail))
        return super()._examples(replace(data, examples=tuple(known), refused=tuple(refused)), name)

    def _head(self, example: Example) -> int:
        return 0 if len(self.manifest.heads) == 1 else self.manifest.heads.index(head_of(example.group))

    def _loss(self, example: Example, scores: Tensor) -> Tensor:
        if isinstance(example, Pair):
            label = scores.new_tensor(example.probability)
            return losses.bradley_terry(scores[0] - scores[1], label, example.margin)
        if isinstance(example, Ranked):
            return losses.plackett_luce(scores, torch.tensor(example.ranks, device=scores.device))
        assert isinstance(example, Rated)
        return losses.unary(scores[0], scores.new_tensor(example.value))

    def _watch(self, example: Example, scores: Tensor, lengths: Tensor) -> Watched:
        if not isinstance(example, Pair):
            return {}
        return {
            "rewards/chosen": scores[0],
            "rewards/rejected": scores[1],
            "difference": scores[0] - scores[1],
            "label": scores.new_tensor(example.probability),
            "longer": (lengths[0] - lengths[1]).to(scores.dtype),
        }


def _load(config: RewardConfig, data: Data) -> Trainee:
    """Load a model with the heads that ``data`` is for. Raises `InputError` where it has others."""
    named = heads(data.examples, config)
    trainee = reward_model(config, len(named))
    if trainee.heads not in (None, named):
        raise InputError(
            f"its heads are {', '.join(trainee.heads or ())}, and the data is for {', '.join(named)}",
            where=config.model,
            fix="train from a language model, or give the data of the model's groups",
        )
    return trainee


def _build(model: Any, config: RewardConfig, data: Data, *others: Any, **named: Any) -> RewardTrainer:
    return RewardTrainer(model, config, data, *others, manifest=Manifest(heads=heads(data.examples, config)), **named)


METHOD = Offline(
    config=RewardConfig,
    trainer=_build,
    about="A reward model: it scores answers, and writes none.",
    rows=("pairs", "rankings", "ratings"),
    makes="reward model",
    samples=False,
    load=_load,
    plan=Needs(answers=2, scored=True),
)

"""ORPO and SimPO: their first loss, by transformers' model alone, and that they learn what is planted."""

from pathlib import Path
from typing import Any

import pytest
import torch

from critic.local.loading import load
from trainers import losses
from trainers.methods.orpo import ORPOConfig, ORPOTrainer
from trainers.methods.simpo import SimPOConfig, SimPOTrainer
from trainers.trainer import TreeTrainer

from .tiny import build, config_of, planted, weighted

KINDS: dict[str, tuple[type[TreeTrainer], Any]] = {
    "orpo": (ORPOTrainer, ORPOConfig),
    "simpo": (SimPOTrainer, SimPOConfig),
}
BOTH = pytest.mark.parametrize("name", KINDS)


def means(folder: Path, trainer: TreeTrainer) -> torch.Tensor:
    """The mean log-probability of both answers' tokens of each example, ``[E, 2]``."""
    model: Any = load(str(folder), torch.float32, torch.device("cpu"), "eager").model
    rows = []
    for number in range(len(trainer.examples)):
        root, *branches = trainer.examples[number].tree.segments
        with torch.no_grad():
            for branch in branches:
                logits = model(torch.tensor([[*root.ids, *branch.ids]])).logits[0, len(root.ids) - 1 : -1]
                rows.append(logits.log_softmax(-1)[range(len(branch.ids)), list(branch.ids)].mean())
    return torch.stack(rows).view(-1, 2)


@BOTH
def test_the_first_loss_is_the_paper_s(name: str, policy: Path, tmp_path: Path) -> None:
    kind, config = KINDS[name]
    settings = {"beta": 0.7} | ({"gamma": 0.4} if name == "simpo" else {})
    trainer = build(kind, config_of(config, policy, tmp_path, max_steps=1, **settings), weighted(6))
    trainer.train()
    mean_E2 = means(policy, trainer)
    label_E = torch.tensor([0.6 + 0.1 * (i % 4) for i in range(6)])
    weight_E = torch.tensor([1.0 + i % 3 for i in range(6)])
    if name == "simpo":
        loss_E = losses.bradley_terry(0.7 * (mean_E2[:, 0] - mean_E2[:, 1]), label_E, 0.4)
    else:
        p_E2 = mean_E2.exp()
        odds_E2 = p_E2 / (1 - p_E2)
        ratio_E = (odds_E2[:, 0] / odds_E2[:, 1]).log()
        loss_E = -(label_E * mean_E2[:, 0] + (1 - label_E) * mean_E2[:, 1])
        loss_E = loss_E + 0.7 * losses.bradley_terry(ratio_E, label_E)
    expected = float((weight_E * loss_E).sum() / weight_E.sum())
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected, rel=1e-4)


@BOTH
def test_what_is_planted_is_learnt(name: str, policy: Path, tmp_path: Path) -> None:
    kind, config = KINDS[name]
    held_out = planted(40, first=10_000)
    settings: dict[str, Any] = {"learning_rate": 5e-3, "num_train_epochs": 2}
    trainer = build(kind, config_of(config, policy, tmp_path, **settings), planted(64), held_out)
    before = trainer.evaluate()["eval_rewards/accuracies"]
    trainer.train()
    assert trainer.evaluate()["eval_rewards/accuracies"] > max(0.8, before)


@pytest.mark.parametrize(
    ("kind", "settings"), [(ORPOConfig, {"beta": 0.0}), (SimPOConfig, {"beta": -1.0}), (SimPOConfig, {"gamma": -0.1})]
)
def test_numbers_that_make_no_sense_are_refused(
    kind: Any, settings: dict[str, Any], policy: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(settings))} is"):
        config_of(kind, policy, tmp_path, **settings)

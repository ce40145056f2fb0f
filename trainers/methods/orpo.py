"""Odds ratio preference optimisation (Hong et al. 2024): imitation and preference in one loss, without a reference."""

from dataclasses import dataclass

from torch import Tensor

from trainers import losses
from trainers.batches.examples import Pair
from trainers.batches.inputs import Inputs
from trainers.config import TrainConfig, check_above_zero
from trainers.offline import Offline
from trainers.planning.records import Needs
from trainers.trainer import TreeTrainer, Watched, accuracies


@dataclass
class ORPOConfig(TrainConfig):
    """Settings of `ORPOTrainer`."""

    beta: float = 0.1
    """The weight of the odds ratio beside imitation: the paper's lambda."""
    learning_rate: float = 8e-6

    def __post_init__(self) -> None:
        check_above_zero(self, "beta")
        super().__post_init__()


class ORPOTrainer(TreeTrainer):
    """See the module's docstring, and `losses.orpo`."""

    wanted = (Pair,)
    args: ORPOConfig

    def losses(self, values: Tensor, inputs: Inputs) -> tuple[Tensor, Watched]:
        """Return the loss of each pair; ``values`` are the answers' tokens' log-probabilities, ``[M]``."""
        sums_A = inputs.batch.sums(values)
        means_E2 = (sums_A / inputs.batch.lengths).view(-1, 2)
        label_E = inputs.column("probability", values.device)
        odds_E = losses.log_odds(means_E2[:, 0]) - losses.log_odds(means_E2[:, 1])
        return losses.orpo(means_E2, label_E, self.args.beta), {
            "rewards/margins": self.args.beta * (means_E2[:, 0] - means_E2[:, 1]),
            "rewards/accuracies": accuracies(odds_E, label_E),
            "log_odds_ratio": odds_E,
            "logps/chosen": sums_A.view(-1, 2)[:, 0],
            "logps/rejected": sums_A.view(-1, 2)[:, 1],
        }


METHOD = Offline(
    config=ORPOConfig,
    trainer=ORPOTrainer,
    about="A language model, trained on preferences by odds ratio preference optimisation (ORPO).",
    rows=("pairs",),
    plan=Needs(answers=2),
)

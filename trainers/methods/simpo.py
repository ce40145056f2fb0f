"""Simple preference optimisation (Meng et al. 2024): mean log-probabilities as rewards, without a reference."""

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
class SimPOConfig(TrainConfig):
    """Settings of `SimPOTrainer`."""

    beta: float = 2.0
    """The scale of the difference between the answers' log-probabilities per token."""
    gamma: float = 1.0
    """The margin by which the chosen answer should lead, after scaling by beta: the paper's target margin."""
    learning_rate: float = 1e-6

    def __post_init__(self) -> None:
        check_above_zero(self, "beta")
        if not 0 <= self.gamma < float("inf"):
            raise ValueError(f"gamma is {self.gamma}; expected a number of at least 0")
        super().__post_init__()


class SimPOTrainer(TreeTrainer):
    """See the module's docstring: the loss is `losses.bradley_terry` of the rewards, with gamma as its margin."""

    wanted = (Pair,)
    args: SimPOConfig

    def losses(self, values: Tensor, inputs: Inputs) -> tuple[Tensor, Watched]:
        """Return the loss of each pair; ``values`` are the answers' tokens' log-probabilities, ``[M]``."""
        sums_A = inputs.batch.sums(values)
        reward_E2 = self.args.beta * (sums_A / inputs.batch.lengths).view(-1, 2)
        lead_E = reward_E2[:, 0] - reward_E2[:, 1]
        label_E = inputs.column("probability", values.device)
        return losses.bradley_terry(lead_E, label_E, self.args.gamma), {
            "rewards/chosen": reward_E2[:, 0],
            "rewards/rejected": reward_E2[:, 1],
            "rewards/margins": lead_E,
            "rewards/accuracies": accuracies(lead_E, label_E),
            "logps/chosen": sums_A.view(-1, 2)[:, 0],
            "logps/rejected": sums_A.view(-1, 2)[:, 1],
        }


METHOD = Offline(
    config=SimPOConfig,
    trainer=SimPOTrainer,
    about="A language model, trained on preferences by simple preference optimisation (SimPO).",
    rows=("pairs",),
    plan=Needs(answers=2),
)

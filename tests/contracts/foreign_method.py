"""A training method that this project does not ship, to be dropped beside those that it does: see `test_methods`.

Each answer is pushed up or down by how far its pair's label is from a coin's toss, and ``push`` says how hard.
"""

from dataclasses import dataclass

from torch import Tensor

from trainers.batches.examples import Pair
from trainers.batches.inputs import Inputs
from trainers.config import TrainConfig
from trainers.offline import Offline
from trainers.trainer import TreeTrainer, Watched


@dataclass
class NudgeConfig(TrainConfig):
    """Settings of `NudgeTrainer`."""

    push: float = 1.0
    """How hard answers are pushed."""


class NudgeTrainer(TreeTrainer):
    """See the module's docstring."""

    wanted = (Pair,)
    args: NudgeConfig

    def losses(self, values: Tensor, inputs: Inputs) -> tuple[Tensor, Watched]:
        """Return the loss of each pair."""
        means_E2 = (inputs.batch.sums(values) / inputs.batch.lengths).view(-1, 2)
        lead_E = means_E2[:, 0] - means_E2[:, 1]
        label_E = inputs.column("probability", values.device)
        return self.args.push * (0.5 - label_E) * lead_E, {"lead": lead_E}


METHOD = Offline(
    config=NudgeConfig,
    trainer=NudgeTrainer,
    about="A language model that was nudged.",
    rows=("pairs",),
)

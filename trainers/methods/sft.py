"""Supervised fine-tuning on demonstrations and revisions: the loss of the answer's tokens only."""

from dataclasses import dataclass

from torch import Tensor

from trainers.batches.examples import Demonstration
from trainers.batches.inputs import Inputs
from trainers.config import TrainConfig
from trainers.offline import Offline
from trainers.planning.records import Needs
from trainers.trainer import TreeTrainer, Watched


@dataclass
class SFTConfig(TrainConfig):
    """Settings of `SFTTrainer`."""


class SFTTrainer(TreeTrainer):
    """The mean, over all answer tokens (the end of the turn is one), of their negative log-probability."""

    wanted = (Demonstration,)
    args: SFTConfig

    def losses(self, values: Tensor, inputs: Inputs) -> tuple[Tensor, Watched]:
        """Return the summed negative log-probability of each answer; ``values`` are the tokens' log-probabilities."""
        sums = inputs.batch.sums(values)
        return -sums, {"logps/answer": sums / inputs.batch.lengths}

    def counts(self, inputs: Inputs) -> list[float]:
        """Each token counts as much as its example weighs."""
        lengths = inputs.batch.lengths.tolist()
        return [length * example.weight for length, example in zip(lengths, inputs.examples, strict=True)]


METHOD = Offline(
    config=SFTConfig,
    trainer=SFTTrainer,
    about="A language model, fine-tuned on demonstrations.",
    rows=("demonstrations",),
    plan=Needs(),
)

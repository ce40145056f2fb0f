"""Direct preference optimisation: DPO with soft labels, IPO, and KTO for rated answers.

The reference's log-probabilities are computed once, before the first step, by the model as it is then, and only of
examples that the steps will take. A file keeps them as they are computed, so that a run that was killed goes on there.
"""

import contextlib
import logging
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate.utils import gather_object
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import Subset

from base.digest import digest, seed_of
from base.errors import InputError
from critic.chats.tokens import TokenTree
from critic.files.inputs import RowError
from critic.records import Quarantined
from trainers import losses
from trainers.batches.data import Data
from trainers.batches.examples import Example, Pair, Rated
from trainers.batches.inputs import Encode, Examples, Inputs, KeptTree
from trainers.config import TrainConfig, check_above_zero
from trainers.folder.disk import saving
from trainers.offline import Offline
from trainers.planning.records import Needs
from trainers.trainer import TreeTrainer, Watched, accuracies

_KEPT_EVERY = 32
"""After how many batches of each process the references so far are written."""
FALL_PER_TOKEN = 0.1
"""Nats. Chosen answers that have become so much less likely, per token, are told of."""

log = logging.getLogger(__name__)


@dataclass
class DPOConfig(TrainConfig):
    """Settings of `DPOTrainer`."""

    loss: Literal["sigmoid", "ipo", "kto"] = "sigmoid"
    """The loss. ipo sums log-ratios over an answer, like its paper; TRL averages them."""
    beta: float = 0.1
    """How strongly the policy is held to its reference."""
    length_normalised: bool = False
    """Whether log-ratios are averaged over an answer's tokens instead of summed."""
    learning_rate: float = 1e-6

    def __post_init__(self) -> None:
        check_above_zero(self, "beta")
        super().__post_init__()


class WithStrangers(Examples):
    """Rated answers, each beside an answer to another prompt: KTO estimates from those how far the policy has moved.

    ``strangers`` are those answers.
    """

    def __init__(self, data: Data, encode: Encode) -> None:
        super().__init__(data, encode)
        examples, count = self.examples, len(self.examples)
        kept, trees = list[Example](), list[KeptTree]()
        self.strangers: list[str] = []
        for row, example in enumerate(examples):
            following = map(examples.__getitem__, (further % count for further in range(row + 1, row + count)))
            if (chosen := _stranger(example, following, encode)) is None:
                detail = "no answer to another prompt fits after this one's; kto needs two prompts or more"
                self.refused.append(Quarantined(row=row, where=example.where, reason="no_stranger", detail=detail))
                continue
            stranger, tree = chosen
            kept.append(example)
            trees.append(KeptTree(tree))
            self.strangers.append(stranger)
            self.longest = max(self.longest, tree.longest)
            self.widest = max(self.widest, tree.tokens)
        self.examples, self.trees = kept, trees
        self.sha256 = digest([self.sha256, *self.strangers])
        self.require_some()


def _stranger(example: Example, following: Iterable[Example], encode: Encode) -> tuple[str, TokenTree] | None:
    """Return the next answer to another prompt that fits after the example's own, and the tree of both."""
    for other in following:
        if other.prompt.messages != example.prompt.messages:
            with contextlib.suppress(RowError):  # too long for this prompt
                return other.answers[0], encode(example.prompt, (*example.answers, *other.answers))
    return None


class DPOTrainer(TreeTrainer):
    """See the module's docstring. Every batch has two answers a prompt: chosen and rejected, or own and stranger."""

    args: DPOConfig

    def __init__(self, model: Any, args: DPOConfig, *others: Any, **named: Any) -> None:
        kto = args.loss == "kto"
        self.wanted = (Rated,) if kto else (Pair,)  # type: ignore[misc]  # the loss decides, not the class
        self.examples_of = WithStrangers if kto else Examples  # type: ignore[misc]  # likewise
        self._told = False
        super().__init__(model, args, *others, **named)

    def train(self, *args: Any, **named: Any) -> Any:
        """Compute the reference's log-probabilities, unless a file has them, and train."""
        self.prepare_references()
        asked = self.args.max_steps
        try:
            if isinstance(self.train_dataset, Subset):  # of which less than an epoch is no less than was drawn
                self.args.max_steps = self._steps()
            return super().train(*args, **named)
        finally:
            self.args.max_steps = asked

    def evaluate(self, *args: Any, **named: Any) -> dict[str, float]:
        """See `TreeTrainer.evaluate`."""
        self.prepare_references()
        return super().evaluate(*args, **named)

    def losses(self, values: Tensor, inputs: Inputs) -> tuple[Tensor, Watched]:
        """Return the loss of each example; ``values`` are the answers' tokens' log-probabilities, ``[M]``."""
        sums_E2 = inputs.batch.sums(values).view(-1, 2)
        change_E2 = sums_E2 - sums_E2.new_tensor([row.reference for row in inputs.rows])
        lengths_E2 = inputs.batch.lengths.view(-1, 2)
        ratio_E2 = change_E2 / lengths_E2 if self.args.length_normalised else change_E2
        if self.args.loss == "kto":
            return self._kto(ratio_E2, inputs)
        probability_E = inputs.column("probability", values.device)
        log_ratio_E = ratio_E2[:, 0] - ratio_E2[:, 1]
        loss = losses.dpo if self.args.loss == "sigmoid" else losses.ipo
        return loss(log_ratio_E, probability_E, self.args.beta), {
            "rewards/chosen": self.args.beta * ratio_E2[:, 0],
            "rewards/rejected": self.args.beta * ratio_E2[:, 1],
            "rewards/margins": self.args.beta * log_ratio_E,
            "rewards/accuracies": accuracies(log_ratio_E, probability_E),
            "logps/chosen": sums_E2[:, 0],
            "logps/rejected": sums_E2[:, 1],
            "logps/chosen_change_per_token": change_E2[:, 0] / lengths_E2[:, 0],
        }

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, and say once where chosen answers become less likely: the loss only sees their lead."""
        super().log(logs, start_time)
        change = logs.get("logps/chosen_change_per_token", 0.0)
        if change < -FALL_PER_TOKEN and not self._told:
            self._told = True
            log.warning(
                "Chosen answers have become less likely: by %.2f nats per token since the start (step %d), while their "
                "lead over the rejected ones is %+.2f. A larger beta, fewer steps, or SFT on the chosen answers first "
                "holds them.",
                -change,
                self.state.global_step,
                logs.get("rewards/margins", 0.0),
            )

    def _kto(self, ratio_E2: Tensor, inputs: Inputs) -> tuple[Tensor, Watched]:
        """The reference point is the mean over the strangers of a batch, of all processes, and never below 0."""
        mean: Tensor = self.accelerator.gather(ratio_E2[:, 1].detach().mean())
        reference = mean.mean().clamp(min=0)
        value_E = inputs.column("value", ratio_E2.device)
        loss_E = losses.kto(ratio_E2[:, 0], value_E, reference, self.args.beta)
        reward_E = self.args.beta * ratio_E2[:, 0].detach()
        return loss_E, {
            "rewards/desirable": reward_E[value_E > 0.5],
            "rewards/undesirable": reward_E[value_E < 0.5],
            "kl": reference.expand(len(loss_E)),
        }

    def prepare_references(self) -> None:
        """Have the reference's log-probabilities: from the file, else by the model as it is now."""
        for name, examples in (("train", self.examples), ("eval", self.held_out)):
            if examples is not None and examples.references is None:
                only = self._to_come() if name == "train" else range(len(examples))
                file = Path(self.args.output_dir or "") / f"reference-{name}.safetensors"
                known = self._references(examples, only, file).tolist()
                examples.references = [(chosen, rejected) for chosen, rejected in known]

    def _to_come(self) -> Sequence[int]:
        """Return the examples that the run's steps take: of a run of less than an epoch no others are trained on."""
        args, count = self.args, len(self.examples)
        taken = self._steps() * args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        if taken >= count:
            return range(count)
        order = list(range(count))
        if args.train_sampling_strategy != "sequential":
            random.Random(seed_of("examples", args.seed, count)).shuffle(order)
        chosen = sorted(order[:taken])
        self.train_dataset = Subset(self.examples, chosen)
        return chosen

    def _steps(self) -> int:
        """Return how many optimiser steps the run takes, as transformers counts them."""
        args = self.args
        if args.max_steps > 0:
            return args.max_steps
        size = args.train_batch_size * args.world_size
        batches = len(self.examples) // size if args.dataloader_drop_last else math.ceil(len(self.examples) / size)
        steps: int = math.ceil(args.num_train_epochs * max(1, math.ceil(batches / args.gradient_accumulation_steps)))
        return steps

    @torch.no_grad()
    def _references(self, examples: Examples, only: Sequence[int], file: Path) -> Tensor:
        """Return the summed log-probabilities of all answers, ``[examples, 2]``: NaN for those not among ``only``.

        All processes compute them together. The file has what was computed so far, so that a run that was killed goes
        on with the rest.
        """
        found_N2 = _kept(file, examples)
        missing = [index for index in only if bool(found_N2[index].isnan().any())]
        model = self._wrap_model(self.model, training=False).eval()
        chunk = _KEPT_EVERY * self.args.eval_batch_size * self.args.world_size
        for start in range(0, len(missing), chunk):
            mine: dict[int, list[float]] = {}
            for inputs, chosen in self.shards(examples, missing[start : start + chunk]):
                with self.accelerator.autocast():  # as the policy is computed
                    sums = inputs.batch.sums(model(batch=inputs.batch)).view(-1, 2).tolist()
                mine |= dict(zip(chosen, sums, strict=False))
            for part in gather_object([mine]):
                for index, pair in part.items():
                    found_N2[index] = torch.tensor(pair)
            if self.args.should_save:
                _keep(file, found_N2, examples)
        return found_N2


def _kept(file: Path, examples: Examples) -> Tensor:
    """Return what ``file`` has for these very examples; NaN for what is not there."""
    if not file.is_file():
        return torch.full((len(examples), 2), torch.nan)
    with safe_open(file, "pt") as opened:
        if (opened.metadata() or {}).get("examples") != examples.sha256:
            raise InputError(
                "it holds the reference's log-probabilities of other examples",
                where=str(file),
                fix="choose another output_dir",
            )
        logps: Tensor = opened.get_tensor("logps")
        return logps


def _keep(file: Path, found_N2: Tensor, examples: Examples) -> None:
    """Write the log-probabilities, the whole file or none."""
    part = file.with_suffix(".part")
    file.parent.mkdir(parents=True, exist_ok=True)
    with saving("the reference's log-probabilities", file.parent):
        save_file({"logps": found_N2}, part, metadata={"examples": examples.sha256})
        part.replace(file)


METHOD = Offline(
    config=DPOConfig,
    trainer=DPOTrainer,
    about="A language model, trained on preferences by direct preference optimisation.",
    rows=("pairs",),
    rows_of=lambda config: ("ratings",) if config.loss == "kto" else ("pairs",),
    plan=Needs(answers=2, compared=True),
)

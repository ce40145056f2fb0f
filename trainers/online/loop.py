"""The loop of all methods whose policy writes what it learns from, to be read from `OnlineTrainer.train`.

    rollout -> rewards -> log-probabilities -> what the method learns from -> epochs x minibatches of updates -> alarms

All of a step is a function of weights, seed and step. Each process takes its part of a step's prompts, and gradients
are summed over processes, so how many there are matters for rounding only. A method says what it learns from
(`OnlineTrainer.measure`) and adds up the gradients of a minibatch (`OnlineTrainer.update`).
"""

import asyncio
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar, NoReturn

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
)
from transformers.integrations.integration_utils import get_reporting_integration_callbacks
from transformers.trainer_callback import CallbackHandler, DefaultFlowCallback
from transformers.trainer_utils import get_last_checkpoint

from base.digest import seed_of
from base.errors import InputError
from critic.engine import RunStopped
from critic.rewarding.grade import Grade
from trainers.batches import proof, vocabulary
from trainers.batches.packing import Packed
from trainers.folder import checkpoint
from trainers.folder.metrics import MetricsFile
from trainers.online import experience, models, processes
from trainers.online.alarms import SAME, Alarm, Audit, History, alarms
from trainers.online.config import OnlineConfig
from trainers.online.experience import MeasuredStep, NoReward, Row, Siblings
from trainers.online.models import ActorCritic
from trainers.online.optimizer import add_up_gradients, make_optimizer, timed
from trainers.online.prompts import Ask, Asks
from trainers.online.scoring import RewardSource, SumReward, by_prompt, gained, open_source
from trainers.online.writing import rollouts
from trainers.online.writing.rollout import RolloutTask, Sample
from trainers.online.writing.writers import open_writer
from trainers.trainer import NotFinite

log = logging.getLogger(__name__)


Sums = dict[str, Tensor]
"""Sums over a minibatch, by name. ``of`` is what the others are divided by to be told as means."""


class OnlineTrainer:
    """See the module's docstring. ``model`` must have the attention of `critic.local.trees.attention`.

    ``reward`` and ``heldout`` are what ``args`` names, unless others are given. Raises `Alarm` where a run is stopped,
    and `InputError` for whatever a person has to mend; the same call goes on from the last checkpoint.
    """

    critic: ClassVar[bool] = False
    """Whether a model of values is trained beside the policy."""
    args: OnlineConfig
    models: ActorCritic

    def __init__(
        self,
        model: PreTrainedModel,
        args: Any,
        train_dataset: Asks,
        processing_class: PreTrainedTokenizerBase,
        eval_dataset: Asks | None = None,
        reward: RewardSource | None = None,
        heldout: RewardSource | None = None,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        self.args, self.asks, self.held_out, self.tokenizer = args, train_dataset, eval_dataset, processing_class
        self._out = Path(args.output_dir or "")
        self.accelerator = Accelerator(mixed_precision="bf16" if args.bf16 else "no", cpu=args.use_cpu)
        train_dataset.check_steps(args.prompts_per_step, self.accelerator.num_processes)
        with ExitStack() as opened:  # what follows may fail
            self._runner = opened.enter_context(asyncio.Runner())
            self.reward = self._open(opened, reward, args.reward, args.principles)
            self.reward_weights, self.taught_by = [1.0], [self.reward.identity]
            if args.more_rewards and reward is None:
                more = [self._open(opened, None, one["reward"], one.get("principles")) for one in args.more_rewards]
                self.taught_by += [source.identity for source in more]
                self.reward_weights += [float(one.get("weight", 1.0)) for one in args.more_rewards]
                self.reward = SumReward([self.reward, *more], self.reward_weights)
            self.heldout: RewardSource | None = None
            if heldout or args.heldout_reward:
                self.heldout = self._open(opened, heldout, args.heldout_reward or "", args.heldout_principles)
            torch.nn.Module.to(model, self.accelerator.device)
            self._prepare(model)
            self._writer = open_writer(args, model, processing_class, self._runner)
            opened.callback(self._writer.close)
            device = self.accelerator.device
            self.models = models.build(
                args, model, processing_class, device, self.short, args.max_length, critic=self.critic
            )
            self._weights = self.models.trainable()
            updates = args.max_steps * args.epochs * args.minibatches
            self.optimizer, self._scheduler = make_optimizer(args, self._weights.values(), updates)
            self.history = History()
            self.state, self.control = TrainerState(), TrainerControl()
            self._callbacks = self._make_callbacks(model, callbacks)
            self._opened = opened.pop_all()

    def train(self) -> None:
        """Take all steps, from the last checkpoint in ``output_dir`` on if there is one."""
        self._begin()
        try:
            while self.state.global_step < self.state.max_steps and not self.control.should_training_stop:
                self._audit()
                self._heed_alarms()
                self._step()
            self._audit()
            self._heed_alarms()
        except NoReward:
            self._save()
            raise
        except RunStopped as error:  # which all processes know of
            self._save()
            raise InputError(
                str(error), where=f"step {self.state.global_step + 1}", fix="the same command goes on with this step"
            ) from error
        finally:
            self.control = self._callbacks.on_train_end(self.args, self.state, self.control)

    def close(self) -> None:
        """Free engines and processes."""
        self._opened.close()

    def measure(self, samples: list[Sample]) -> MeasuredStep:
        """Return what the update learns from, of answers that have a reward or a problem each."""
        raise NotImplementedError  # each method has its own

    def update(self, groups: Sequence[Siblings]) -> Sums:
        """Add up the gradients of a minibatch, which may have no groups in this process; return its `Sums`."""
        raise NotImplementedError  # each method has its own

    def kept(self) -> dict[str, Any]:
        """Return what the method keeps in a checkpoint beside the weights, as plain values."""
        return {}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Take over what `kept` has returned."""

    def _step(self) -> None:
        self.control = self._callbacks.on_step_begin(self.args, self.state, self.control)
        seconds: dict[str, float] = {}
        with timed(seconds, "rollout"):
            samples = self._write(self._asks_of_step(), self.args.samples_per_prompt, "step", self.state.global_step)
        with timed(seconds, "scoring"):
            self._grade(samples)
            measured = self.measure(samples)
        with timed(seconds, "update"):
            learnt = self._learn(measured.groups)
        self.state.global_step += 1
        self.state.epoch = self.state.global_step * self.args.prompts_per_step / len(self.asks.asks)
        rows = gather_object(measured.rows)
        figures = experience.figures(rows) | measured.figures | learnt
        good = [row for row in rows if row["reward"] is not None]
        rewards = [row["reward"] for row in good]
        spread = experience.spread(good, not self.critic, measured.apart)
        self.history.add(figures | {"reward_std": spread}, [row["answer"] for row in good], rewards)
        if spread == 0:
            log.warning("Step %d: %s: they don't say which answer is better.", self.state.global_step, SAME)
        logs = figures | {f"seconds/{name}": value for name, value in seconds.items()}
        self.stepped(figures)
        self._finish_step(rows, logs)

    def stepped(self, figures: Mapping[str, float]) -> None:
        """Hear the figures of a step that was taken."""

    def _finish_step(self, rows: list[Row], logs: dict[str, float]) -> None:
        if self.accelerator.is_main_process:
            rollouts.append(self._out, rows)
        self.control = self._callbacks.on_step_end(self.args, self.state, self.control)
        if self.control.should_log:
            self._log(logs)
        if self.control.should_save:
            self._save()

    def _asks_of_step(self) -> list[Ask]:
        asks = self.asks.of_step(self.state.global_step, self.args.prompts_per_step, self.args.seed)
        return asks[self.accelerator.process_index :: self.accelerator.num_processes]

    def _write(self, asks: Sequence[Ask], count: int, *what: object) -> list[Sample]:
        """Have ``count`` answers to each prompt written by the policy as it is now."""
        args, tasks = self.args, list[RolloutTask]()
        for ask in asks:
            seeds = [seed_of(args.seed, *what, ask.prompt.key, number) for number in range(count)]
            tasks += [RolloutTask(ask, seed, args.max_new_tokens, args.temperature) for seed in seeds]

        def written() -> list[Sample]:
            self._writer.refresh(self.models.written())
            return self._writer.write(tasks)

        return processes.shared(written)

    def _grade(self, samples: Sequence[Sample]) -> None:
        """Give each sample its reward, or the reason why it has none."""
        masked = self.args.unfinished == "mask"
        for sample in samples:
            if masked and not sample.ended and not sample.problem:
                sample.problem = experience.CUT
        good = [sample for sample in samples if not sample.problem]
        penalty = self.args.unfinished_penalty if self.args.unfinished == "penalise" else 0.0
        for sample, grade in zip(good, self._graded(self.reward, good), strict=True):
            sample.reward, sample.problem, sample.error = grade.reward, grade.problem, grade.error
            sample.parts = grade.parts or ((grade.reward,) if grade.reward is not None else ())
            if sample.reward is not None and not sample.ended:
                sample.penalty = penalty
        experience.require_rewards(samples, self.state.global_step + 1)

    def _graded(
        self, source: RewardSource, samples: Sequence[Sample], first: Sequence[Sample] | None = None
    ) -> list[Grade]:
        """Return the rewards of ``samples``; with the ``first`` answers to their prompts, what they are above those."""
        work = source.grade(samples) if first is None else gained(source, samples, first)
        return processes.shared(lambda: self._runner.run(work))

    def _learn(self, groups: Sequence[Siblings]) -> dict[str, float]:
        """Update the weights by each minibatch in turn."""
        self.models.train(True)
        sums, norm = dict[str, Tensor](), 0.0
        for chosen in experience.minibatches(groups, self.args, self.state.global_step):
            for name, value in self.update(chosen).items():
                sums[name] = sums.get(name, 0) + value.detach()
            norm = self._descend(chosen)
        everywhere = {name: float(self.accelerator.reduce(value)) for name, value in sums.items()}
        count = everywhere.pop("of")
        means = {name: value / count for name, value in everywhere.items()} if count else {}
        return means | {"grad_norm": norm, "learning_rate": float(self._scheduler.get_last_lr()[0])}

    def total(self, mine: float) -> Tensor:
        """Return what all processes have of something together."""
        count = torch.tensor(float(mine), device=self.accelerator.device)
        summed: Tensor = self.accelerator.reduce(count)
        return summed

    def parts(self, groups: Sequence[Siblings]) -> Iterator[tuple[Sequence[Siblings], Packed]]:
        """Yield groups with their row, so many at a time as go through the model at once."""
        for part in experience.in_parts(groups, self.args.per_device_train_batch_size):
            yield part, experience.batch([group.samples for group in part], self.accelerator.device)

    def backward(self, loss: Tensor, groups: Sequence[Siblings]) -> None:
        """Add the gradient of ``loss``, which is of ``groups``. Raises `NotFinite` where it is not a number."""
        if not math.isfinite(float(loss.detach())):
            self._stop(groups)
        self.accelerator.backward(loss)

    def _descend(self, groups: Sequence[Siblings]) -> float:
        """Take a step of the optimiser, and return the norm of the gradient before it was clipped."""
        if self.accelerator.num_processes > 1:
            add_up_gradients(self.accelerator, self._weights.values())
        limit = self.args.max_grad_norm or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(self._weights.values(), limit))
        if not math.isfinite(norm):
            self._stop(groups)
        self.optimizer.step()
        self._scheduler.step()
        self.optimizer.zero_grad()
        return norm

    def _stop(self, groups: Sequence[Siblings]) -> NoReturn:
        raise NotFinite(
            f"the loss or its gradient is not a number at step {self.state.global_step + 1}",
            where=", ".join(group.where for group in groups),
            fix="the last checkpoint is from before this step; look at these prompts, or lower learning_rate",
        )

    def _audit(self) -> None:
        """Give answers to the held-out prompts both rewards, if it is time: from the same seeds each time."""
        step, audits = self.state.global_step, self.history.audits
        is_due = not step % self.state.eval_steps and not (audits and audits[-1].step == step)  # before it was saved
        if self.heldout is None or self.held_out is None or not is_due:
            return
        mine = self.held_out.asks[self.accelerator.process_index :: self.accelerator.num_processes]
        samples = [sample for sample in self._write(mine, 1, "heldout") if not sample.problem]
        first = self._first_answers(samples) if self.args.judge_by == "comparison" else None
        both = [self._graded(source, samples, first) for source in (self.reward, self.heldout)]
        parts = gather_object([[by_prompt(samples, grades) for grades in both]])
        reward = {key: value for part in parts for key, value in part[0].items()}
        heldout = {key: value for part in parts for key, value in part[1].items()}
        audits.append(Audit(step, reward, heldout))
        means = {"eval_reward": reward, "eval_heldout": heldout}
        self._log({name: fmean(values.values()) for name, values in means.items() if values})

    def _first_answers(self, samples: Sequence[Sample]) -> list[Sample]:
        """Return, for each of ``samples``, the answer to its prompt that was written when it was first evaluated."""
        first = self.history.answers
        for sample in samples:
            first.setdefault(sample.task.ask.prompt.key, (sample.ids, sample.text))
        for mine in gather_object([dict(first)]):  # one process saves them all
            first |= mine
        both = [(sample, first[sample.task.ask.prompt.key]) for sample in samples]
        return [replace(sample, ids=tuple(ids), text=text) for sample, (ids, text) in both]

    def _heed_alarms(self) -> None:
        if messages := alarms(self.history, self.args):
            self._save()
            raise Alarm(
                "; ".join(messages),
                where=f"step {self.state.global_step}",
                fix=f"read {rollouts.FILE}; with a higher limit the same command goes on, or begin anew with another "
                "reward, a higher kl_coef or a lower learning_rate",
            )

    def _save(self) -> None:
        chance = gather_object([checkpoint.chance()])
        if self.accelerator.is_main_process:
            content = {
                "weights": {name: weight.detach() for name, weight in self._weights.items()},
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self._scheduler.state_dict(),
                "chance": chance,
                "method": self.kept(),
                "reward": dict(self.reward.identity),
                "history": self.history.plain(),
            }
            checkpoint.save(self._out, content, self.state, self.args.save_total_limit)
        self.accelerator.wait_for_everyone()
        self.control = self._callbacks.on_save(self.args, self.state, self.control)

    def _begin(self) -> None:
        """Take over the last checkpoint, if there is one, and tell the callbacks that it begins."""
        self._out.mkdir(parents=True, exist_ok=True)
        if last := get_last_checkpoint(str(self._out)):
            self._restore(Path(last))
        self.state.max_steps = self.args.max_steps
        self.state.is_world_process_zero = self.accelerator.is_main_process
        self.state.is_local_process_zero = self.accelerator.is_local_main_process
        self.state.compute_steps(self.args, self.args.max_steps)
        if self.accelerator.is_main_process:
            rollouts.keep(self._out, self.state.global_step)
        self.control = self._callbacks.on_train_begin(self.args, self.state, self.control)

    @torch.no_grad()
    def _restore(self, folder: Path) -> None:
        content, self.state = checkpoint.load(folder)
        if content["reward"] != dict(self.reward.identity):
            raise InputError(
                f"it was trained by the reward {content['reward']}, and is now given {dict(self.reward.identity)}",
                where=str(folder),
                fix="choose another output_dir, or the reward that it was trained by",
            )
        for name, weight in self._weights.items():
            weight.copy_(content["weights"][name])
        self.optimizer.load_state_dict(content["optimizer"])
        self._scheduler.load_state_dict(content["scheduler"])
        self.restore(content["method"])
        self.history = History.of(content["history"])
        checkpoint.restore_chance(content["chance"], self.accelerator.process_index)

    def _log(self, figures: dict[str, float]) -> None:
        self.state.log_history.append(figures | {"step": self.state.global_step})
        self.control = self._callbacks.on_log(self.args, self.state, self.control, figures)

    def gathered(self, mine: Tensor) -> Tensor:
        """Return what all processes have, side by side in the last dimension."""
        return torch.cat([part.to(mine.device) for part in gather_object([mine.cpu()])], -1)

    def _open(self, opened: ExitStack, source: RewardSource | None, spec: str, principles: str | None) -> RewardSource:
        def decode(ids: Sequence[int]) -> str:
            return str(self.tokenizer.decode(list(ids)))

        async def opening() -> RewardSource:  # some engines want to be opened where they are used
            return open_source(spec, principles, decode, self.args)

        opened_source = source or self._runner.run(opening())
        opened.callback(lambda: self._runner.run(opened_source.close()))
        return opened_source

    def _make_callbacks(self, model: PreTrainedModel, more: Sequence[TrainerCallback]) -> CallbackHandler:
        reporting = get_reporting_integration_callbacks(self.args.report_to)
        bars = [] if self.args.disable_tqdm else [ProgressCallback]
        kinds = [DefaultFlowCallback, *bars, *reporting, MetricsFile(self._out), *more]
        return CallbackHandler(kinds, model, self.tokenizer, self.optimizer, self._scheduler)

    def _prepare(self, model: PreTrainedModel) -> None:
        """Find out that the policy can be learnt from rollouts. Raises `InputError` where it can't."""
        asked = [ask.ids for part in (self.asks, self.held_out) if part is not None for ask in part.asks]
        vocabulary.check_rows(model, self.tokenizer, max(map(max, asked)), self.args.model)
        vocabulary.learn_end(model, self.tokenizer, self.args.model)
        self.short = proof.of_prompts(asked, model.config, self.args.max_length)
        self.proof = models.prepare(model, self.args, self.short, self.args.max_length, "the policy")

"""Proximal policy optimisation (Schulman et al. 2017) with a KL penalty: one loop, to be read from `PPOTrainer.train`.

    rollout -> rewards -> log-probabilities and values -> advantages -> epochs x minibatches of updates -> alarms

All of a step is a function of weights, seed and step. Each process takes its part of a step's prompts, and gradients
are summed over processes, so how many there are matters for rounding only.
"""

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from statistics import fmean

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    get_scheduler,
)
from transformers.integrations.integration_utils import get_reporting_integration_callbacks
from transformers.trainer_callback import CallbackHandler, DefaultFlowCallback
from transformers.trainer_utils import get_last_checkpoint

from base.errors import InputError
from base.seeds import seed_of
from critic.engine import RunStopped
from trainers.batches import proof, vocabulary
from trainers.folder import checkpoint
from trainers.folder.metrics import MetricsFile
from trainers.online import actor_critic, experience, policy_gradient, rollouts
from trainers.online.alarms import FIGURES, Alarm, Audit, History, alarms
from trainers.online.config import PPOConfig
from trainers.online.experience import Group, Row
from trainers.online.prompts import Ask, Asks
from trainers.online.rollout import Sample, Task
from trainers.online.scoring import RewardSource, open_source
from trainers.online.writers import open_writer
from trainers.trainer import NotFinite


class PPOTrainer:
    """See the module's docstring. ``model`` must have the attention of `critic.local.trees.attention`.

    ``reward`` and ``heldout`` are what ``args`` names, unless others are given. Raises `Alarm` where a run is stopped,
    and `InputError` for whatever a person has to mend; the same call goes on from the last checkpoint.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: PPOConfig,
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
        self._check()
        with ExitStack() as opened:  # what follows may fail
            self._runner = opened.enter_context(asyncio.Runner())
            self.reward = self._open(opened, reward, args.reward, args.principles)
            self.heldout: RewardSource | None = None
            if heldout or args.heldout_reward:
                self.heldout = self._open(opened, heldout, args.heldout_reward or "", args.heldout_principles)
            torch.nn.Module.to(model, self.accelerator.device)
            self._prepare(model)
            self._writer = open_writer(args, model, processing_class, self._runner)
            opened.callback(self._writer.close)
            device = self.accelerator.device
            self.models = actor_critic.build(args, model, processing_class, device, self.short, args.max_length)
            self._weights = self.models.trainable()
            self._make_optimizer()
            self.kl_coef = args.kl_coef
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
        except RunStopped as error:
            raise InputError(
                str(error), where=f"step {self.state.global_step}", fix="the same command goes on from a checkpoint"
            ) from error
        finally:
            self.control = self._callbacks.on_train_end(self.args, self.state, self.control)

    def close(self) -> None:
        """Free engines and processes."""
        self._opened.close()

    def _step(self) -> None:
        self.control = self._callbacks.on_step_begin(self.args, self.state, self.control)
        seconds: dict[str, float] = {}
        with _timed(seconds, "rollout"):
            samples = self._write(self._asks_of_step(), self.args.samples_per_prompt, "step", self.state.global_step)
        with _timed(seconds, "scoring"):
            self._grade(samples)
            groups, rows, explained = self._measure(samples)
        with _timed(seconds, "update"):
            learnt = self._learn(groups)
        self.state.global_step += 1
        self.state.epoch = self.state.global_step * self.args.prompts_per_step / len(self.asks.asks)
        figures = experience.figures(rows) | {"explained_variance": explained} | learnt
        self.history.steps.append({name: figures[name] for name in FIGURES})
        logs = figures | {"kl_coef": self.kl_coef} | {f"seconds/{name}": value for name, value in seconds.items()}
        self.kl_coef = policy_gradient.next_coefficient(self.kl_coef, figures["kl"], self.args.kl_target)
        self._finish_step(rows, logs)

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
        self._writer.refresh(self.models.written())
        args = self.args
        return self._writer.write(
            [
                Task(ask, seed_of(args.seed, *what, ask.prompt.key, number), args.max_new_tokens, args.temperature)
                for ask in asks
                for number in range(count)
            ]
        )

    def _grade(self, samples: Sequence[Sample]) -> None:
        """Give each sample its reward, or the reason why it has none."""
        good = [sample for sample in samples if not sample.problem]
        for sample, grade in zip(good, self._runner.run(self.reward.grade(good)), strict=True):
            sample.reward, sample.problem = grade.reward, grade.problem
        if not min(gather_object([sum(sample.reward is not None for sample in samples)])):
            raise InputError(
                f"no answer has a reward; the first: {samples[0].problem}",
                where=f"step {self.state.global_step + 1}, {samples[0].task.ask.where}",
                fix="look at the reward's source; the same command goes on from the last checkpoint",
            )

    def _measure(self, samples: Sequence[Sample]) -> tuple[list[Group], list[Row], float]:
        """Return what the update learns from, a row for each sample of all processes, and the explained variance."""
        good = [sample for sample in samples if sample.reward is not None]
        prompts = [list(group) for _, group in groupby(good, lambda sample: sample.task.ask)]
        old_M, entropy_M, reference_M, values_M = experience.read(self.models, prompts, self.args, self.accelerator)
        kl_M = policy_gradient.kl(old_M, reference_M, self.args.kl_estimator)
        advantages_M = experience.advantages(good, kl_M, values_M, self.kl_coef, self.args)
        returns_M = advantages_M + values_M
        everywhere = self._gathered(torch.stack([advantages_M, values_M, returns_M]))
        if self.args.whiten:
            advantages_M = policy_gradient.whiten(advantages_M, everywhere[0])
        sizes = [sum(len(sample.ids) for sample in prompt) for prompt in prompts]
        parts = zip(*(torch.split(x, sizes) for x in (old_M, values_M, advantages_M, returns_M)), strict=True)
        groups = [Group(prompt, *part) for prompt, part in zip(prompts, parts, strict=True)]
        rows = experience.rows(self.state.global_step + 1, samples, kl_M, entropy_M, old_M)
        return groups, gather_object(rows), policy_gradient.explained_variance(everywhere[1], everywhere[2])

    def _learn(self, groups: list[Group]) -> dict[str, float]:
        """Update policy and values: ``epochs`` times over all groups, in ``minibatches`` parts in a new order."""
        self.models.train(True)
        args = self.args
        sums, norm = torch.zeros(4, device=self.accelerator.device), 0.0
        for epoch in range(args.epochs):
            seed = seed_of(args.seed, "minibatches", self.state.global_step, epoch)
            order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed)).tolist()
            for part in range(args.minibatches):
                chosen = [groups[i] for i in order[part :: args.minibatches]]
                sums += self._update(chosen)
                norm = self._descend(chosen)
        tokens, policy, values, clipped = self.accelerator.reduce(sums).tolist()
        return {
            "loss/policy": policy / tokens,
            "loss/value": values / tokens,
            "clip_fraction": clipped / tokens,
            "grad_norm": norm,
            "learning_rate": self._scheduler.get_last_lr()[0],
        }

    def _update(self, groups: Sequence[Group]) -> Tensor:
        """Add up the gradients of a minibatch; return tokens, summed policy and value losses, and clipped tokens."""
        device, args = self.accelerator.device, self.args
        mine = torch.tensor(float(sum(len(group.old) for group in groups)), device=device)
        total, sums = self.accelerator.reduce(mine), torch.zeros(4, device=device)
        for part in experience.in_parts(groups, args.per_device_train_batch_size):
            row = experience.batch([group.samples for group in part], device)
            old_M, values_M = (torch.cat([getattr(group, name) for group in part]) for name in ("old", "values"))
            gain_M, returns_M = (torch.cat([getattr(g, name) for g in part]) for name in ("advantages", "returns"))
            with self.accelerator.autocast():
                new_M = self.models.policy(row, args.temperature)
            loss_M, clipped_M = policy_gradient.policy_loss(new_M, old_M, gain_M, args.clip)
            # Each goes backward before the other begins: with adapters, the base computes as one or as the other.
            self._backward(loss_M.sum() / total, part)
            with self.accelerator.autocast():
                guess_M = self.models.values(row)
            worth_M = policy_gradient.value_loss(guess_M, values_M, returns_M, args.value_clip)
            self._backward(args.value_coef * worth_M.sum() / total, part)
            tokens = torch.ones_like(loss_M)
            sums += torch.stack([x.detach().sum() for x in (tokens, loss_M, worth_M, clipped_M)])
        return sums

    def _backward(self, loss: Tensor, groups: Sequence[Group]) -> None:
        if not math.isfinite(float(loss.detach())):
            self._stop(groups)
        self.accelerator.backward(loss)

    def _descend(self, groups: Sequence[Group]) -> float:
        """Take a step of the optimiser, and return the norm of the gradient before it was clipped."""
        if self.accelerator.num_processes > 1:
            for weight in self._weights.values():
                grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
                weight.grad = self.accelerator.reduce(grad)
        limit = self.args.max_grad_norm or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(self._weights.values(), limit))
        if not math.isfinite(norm):
            self._stop(groups)
        self.optimizer.step()
        self._scheduler.step()
        self.optimizer.zero_grad()
        return norm

    def _stop(self, groups: Sequence[Group]) -> None:
        raise NotFinite(
            f"the loss or its gradient is not a number at step {self.state.global_step + 1}",
            where=", ".join(group.where for group in groups),
            fix="the last checkpoint is from before this step; look at these prompts, or lower learning_rate",
        )

    def _audit(self) -> None:
        """Give answers to the held-out prompts both rewards, if it is time: from the same seeds each time."""
        if self.heldout is None or self.held_out is None or self.state.global_step % self.state.eval_steps:
            return
        mine = self.held_out.asks[self.accelerator.process_index :: self.accelerator.num_processes]
        samples = [sample for sample in self._write(mine, 1, "heldout") if not sample.problem]
        found = []
        for source in (self.reward, self.heldout):
            grades = self._runner.run(source.grade(samples))
            known = [(s, g.reward) for s, g in zip(samples, grades, strict=True) if g.reward is not None]
            found.append({sample.task.ask.prompt.key: reward for sample, reward in known})
        parts = gather_object([found])
        reward, heldout = ({key: value for part in parts for key, value in part[i].items()} for i in (0, 1))
        self.history.audits.append(Audit(self.state.global_step, reward, heldout))
        means = {"eval_reward": reward, "eval_heldout": heldout}
        self._log({name: fmean(values.values()) for name, values in means.items() if values})

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
        devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        chance = gather_object([{"cpu": torch.get_rng_state(), "cuda": devices}])
        if self.accelerator.is_main_process:
            content = {
                "weights": {name: weight.detach() for name, weight in self._weights.items()},
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self._scheduler.state_dict(),
                "chance": chance,
                "kl_coef": self.kl_coef,
                "reward": dict(self.reward.identity),
                "steps": self.history.steps,
                "audits": [asdict(audit) for audit in self.history.audits],
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
        self.kl_coef = content["kl_coef"]
        self.history = History(content["steps"], [Audit(**audit) for audit in content["audits"]])
        chance = content["chance"][self.accelerator.process_index]
        torch.set_rng_state(chance["cpu"])
        if chance["cuda"]:
            torch.cuda.set_rng_state_all(chance["cuda"])

    def _log(self, figures: dict[str, float]) -> None:
        self.state.log_history.append(figures | {"step": self.state.global_step})
        self.control = self._callbacks.on_log(self.args, self.state, self.control, figures)

    def _gathered(self, mine: Tensor) -> Tensor:
        """Return what all processes have, side by side in the last dimension."""
        return torch.cat([part.to(mine.device) for part in gather_object([mine.cpu()])], -1)

    def _open(self, opened: ExitStack, source: RewardSource | None, spec: str, principles: str | None) -> RewardSource:
        async def opening() -> RewardSource:  # some engines want to be opened where they are used
            return open_source(spec, principles, lambda ids: str(self.tokenizer.decode(list(ids))))

        found = source or self._runner.run(opening())
        opened.callback(lambda: self._runner.run(found.close()))
        return found

    def _make_optimizer(self) -> None:
        kind, settings = Trainer.get_optimizer_cls_and_kwargs(self.args)
        args, updates = self.args, self.args.max_steps * self.args.epochs * self.args.minibatches
        self.optimizer = kind(list(self._weights.values()), weight_decay=args.weight_decay, **settings)
        self._scheduler = get_scheduler(
            args.lr_scheduler_type,
            self.optimizer,
            args.get_warmup_steps(updates),
            updates,
            dict(args.lr_scheduler_kwargs or {}),  # type: ignore[arg-type]  # the config has made it a dictionary
        )

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
        self.proof = actor_critic.prepare(model, self.args, self.short, self.args.max_length, "the policy")

    def _check(self) -> None:
        """Raise `InputError` for prompts that don't make the steps that are wanted."""
        count, world = self.args.prompts_per_step, self.accelerator.num_processes
        if len(self.asks.asks) < count:
            raise InputError(
                f"there are {len(self.asks.asks)} prompts, and a step takes {count}",
                where="prompts_per_step",
                fix="give more prompts, or take fewer in a step",
            )
        if count % world:
            raise InputError(
                f"{count} prompts can't be shared by {world} processes",
                where="prompts_per_step",
                fix=f"expected a multiple of {world}",
            )


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds[name] = time.perf_counter() - started

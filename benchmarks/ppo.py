"""A step of PPO on the embedded model: this trainer's loop, against a plain one.

2 prompts of 60 to 240 words, 4 answers each of 16 to 96 tokens (drawn by a fixed seed; no side stops before), 2 epochs
of 2 minibatches, a reward model of the same size. Both sides have float32 weights and bfloat16 compute, and write with
a bfloat16 copy. The plain loop writes with ``model.generate`` in one batch, and computes policy, reference, value and
reward in separate padded passes, with logits at the answers' places only. The limit is the ratio of the tokens that
scoring and update put through the models, padding included.
"""

import json
import random
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from benchmarks.figures import Measurement, alternate
from benchmarks.prefix_tree import text
from critic.local import embedded
from critic.local.loading import default_device, default_dtype
from critic.local.trees import attention
from critic.run.folder.results import replace_text
from trainers.batches.forward import logprobs
from trainers.methods.ppo import PPOConfig, PPOTrainer
from trainers.online.experience import Row
from trainers.online.mathematics import policy_gradient as pg
from trainers.online.models import _with_entropy
from trainers.online.prompts import Ask
from trainers.online.run import load_policy, read_prompts
from trainers.online.scoring import EngineReward
from trainers.online.writing.rollout import HfWriter, RolloutTask, Sample

TITLE = "PPO, beside a plain loop"
PROMPTS, SAMPLES, RUNS = 2, 4, 3
WORDS, TOKENS = (60, 240), (16, 96)  # of a prompt, of an answer
SHORT = {"SAMPLES": 2, "RUNS": 2, "WORDS": (60, 160), "TOKENS": (16, 64)}
TARGET = 1.5
PARTS = ("rollout", "scoring", "update")


def measure() -> list[Measurement]:
    """See the module's docstring."""
    with tempfile.TemporaryDirectory() as folder:
        return compare(embedded.fetch(), Path(folder), WORDS, TOKENS, RUNS)


def compare(
    model: Path,
    folder: Path,
    words: tuple[int, int],
    tokens: tuple[int, int],
    runs: int,
    dtype: torch.dtype | None = None,
) -> list[Measurement]:
    """Take ``runs`` steps with both sides, after one each to warm up."""
    reward = reward_model(model, folder / "reward")
    config = settings(model, reward, folder, words, tokens[1], dtype or default_dtype(default_device()))
    seconds: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
    with closing(MeasuredTrainer.opened(config, tokens)) as ours:
        plain = PlainLoop(ours)

        def step(side: str) -> float:
            seconds_of = ours.step() if side == "ours" else plain.step()
            seconds[side].append(seconds_of)
            return 1 / sum(seconds_of.values())

        step("ours"), step("plain")
        measured = alternate(lambda: step("ours"), lambda: step("plain"), runs)
        limit = f"token count {plain.tokens() / ours.tokens():.2f}; {measured.spread}"

    def mean_of(steps: list[dict[str, float]], part: str) -> float:
        return sum(step[part] for step in steps[1:]) / runs

    figures = [Measurement("a step", 1 / measured.a, "s"), Measurement("a step of the plain loop", 1 / measured.b, "s")]
    for part in PARTS:
        own, plain_loop = mean_of(seconds["ours"], part), mean_of(seconds["plain"], part)
        figures.append(Measurement(f"{part}", own, "s", note=f"plain loop {plain_loop:.2f} s"))
    return [*figures, Measurement("plain / ours", measured.ratio, "x", TARGET, limit)]


def reward_model(model: Path, folder: Path) -> Path:
    """Write a reward model of the policy's size, with a head that was never trained."""
    torch.manual_seed(0)
    made = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(model)
    made.config.pad_token_id = tokenizer.pad_token_id
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def settings(
    model: Path, reward: Path, folder: Path, words: tuple[int, int], longest: int, dtype: torch.dtype
) -> PPOConfig:
    """Return the settings that both sides follow."""
    rng = random.Random("ppo")
    prompts = [json.dumps({"prompt": text(rng, rng.randint(*words))}) for _ in range(PROMPTS)]
    replace_text(folder / "prompts.jsonl", "\n".join(prompts) + "\n")
    return PPOConfig(
        output_dir=str(folder / "out"), model=str(model), data=[str(folder / "prompts.jsonl")],
        reward=f"rm:{reward}?dtype={str(dtype).removeprefix('torch.')}", bf16=dtype == torch.bfloat16,
        use_cpu=default_device().type == "cpu", prompts_per_step=PROMPTS, samples_per_prompt=SAMPLES, epochs=2,
        minibatches=2, max_length=640, max_new_tokens=longest, per_device_train_batch_size=PROMPTS,
        report_to="none", disable_tqdm=True, save_strategy="no",
    )  # fmt: skip


def lengths(tokens: tuple[int, int], step: int) -> list[int]:
    """Return how long each answer of a step is."""
    rng = random.Random(f"lengths {step}")
    return [rng.randint(*tokens) for _ in range(PROMPTS * SAMPLES)]


class MeasuredTrainer(PPOTrainer):
    """This trainer, with answers of given lengths, and nothing written to disk."""

    lengths: tuple[int, int]
    samples: list[Sample]
    seconds: dict[str, float]

    @classmethod
    def opened(cls, config: PPOConfig, tokens: tuple[int, int]) -> "MeasuredTrainer":
        """Load all that ``config`` names."""
        trainee = load_policy(config)
        model: Any = trainee.model  # without adapters it is transformers' own
        trainer = cls(model, config, read_prompts(config, trainee.tokenizer)[0], trainee.tokenizer)
        assert isinstance(trainer._writer, HfWriter)
        trainer._writer.stop_ids, trainer.lengths = frozenset(), tokens
        return trainer

    def step(self) -> dict[str, float]:
        """Take one step, and return its seconds by part."""
        self._step()
        return self.seconds

    def tokens(self) -> int:
        """How many tokens go through a model to read all of the last step's answers."""
        asks = {sample.task.ask for sample in self.samples}
        asked = sum(len(ask.ids) for ask in asks)
        return asked + sum(len(sample.ids) for sample in self.samples)

    def _write(self, asks: Sequence[Ask], count: int, *what: object) -> list[Sample]:
        self._writer.refresh(self.models.written())
        each = iter(lengths(self.lengths, self.state.global_step))
        self.samples = self._writer.write([RolloutTask(a, i, next(each), 1.0) for a in asks for i in range(count)])
        return self.samples

    def _finish_step(self, rows: list[Row], logs: dict[str, float]) -> None:
        self.seconds = {part: logs[f"seconds/{part}"] for part in PARTS}


class PlainLoop:
    """The plain loop. Rows are prompts, filled up on the left, with their answers, filled up on the right.

    Two of each model would not fit beside each other: it borrows those of ``ours``, with transformers' attention.
    """

    def __init__(self, ours: MeasuredTrainer) -> None:
        self.config, self.asks, self.device = ours.args, ours.asks.asks, ours.accelerator.device
        self.autocast, self.optimizer = ours.accelerator.autocast, ours.optimizer
        models: Any = ours.models
        self.policy, self.value, self.reference = models._policy, models._value, models._reference
        writer, reward = ours._writer, ours.reward
        assert isinstance(writer, HfWriter) and isinstance(reward, EngineReward)
        self.writer: Any = writer.model
        self.reward: Any = reward._engine._worker._model  # type: ignore[attr-defined]  # the engine rm's
        self.writer.generation_config.eos_token_id = None
        self.lengths, self.number, self.width = ours.lengths, 0, 0

    def step(self) -> dict[str, float]:
        """Take one step, and return its seconds by part."""
        self.attend("sdpa")
        marks = [time.perf_counter()]
        rows, mask, answers = self.rollout(lengths(self.lengths, self.number))
        marks.append(time.perf_counter())
        measured = self.score(rows, mask, answers)
        marks.append(time.perf_counter())
        self.update(rows, mask, answers, measured)
        marks.append(time.perf_counter())
        self.number += 1
        self.attend(attention.NAME)
        return {part: marks[i + 1] - marks[i] for i, part in enumerate(PARTS)}

    def attend(self, name: str) -> None:
        """Give all models the attention ``name``."""
        for model in (self.policy, self.value, self.reference, self.writer, self.reward):
            model.set_attn_implementation(name)

    def tokens(self) -> int:
        """How many tokens go through a model to read all of the last step's answers."""
        return self.width * PROMPTS * SAMPLES

    @torch.inference_mode()
    def rollout(self, wanted: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return tokens and what of them is text, both ``[A, P + T]``, and where answers stand, ``[A, T]``."""
        for mine, weight in zip(self.writer.parameters(), self.policy.parameters(), strict=True):
            mine.copy_(weight)
        asks = [ask.ids for ask in self.asks for _ in range(SAMPLES)]
        width = max(map(len, asks))
        rows = torch.tensor([[0] * (width - len(ids)) + list(ids) for ids in asks], device=self.device)
        mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in asks], device=self.device)
        out = self.writer.generate(
            input_ids=rows, attention_mask=mask, max_new_tokens=max(wanted), do_sample=True, top_k=0, pad_token_id=0
        )
        answers = torch.arange(max(wanted), device=self.device) < torch.tensor(wanted, device=self.device)[:, None]
        self.width = out.shape[1]
        return out, torch.cat([mask, answers.long()], 1), answers

    @torch.no_grad()
    def score(self, rows: Tensor, mask: Tensor, answers: Tensor) -> dict[str, Tensor]:
        """Return old log-probabilities, values, advantages and returns, ``[A, T]`` each."""
        with self.autocast():
            old, entropy = self.logprobs(self.policy, rows, mask, answers, entropy=True).unbind(-1)
            reference = self.logprobs(self.reference, rows, mask, answers)
            values = self.values(rows, mask, answers)
        assert entropy.isfinite().all()
        hidden = self.reward.model(input_ids=rows, attention_mask=mask, position_ids=places(mask)).last_hidden_state
        last = mask.cumsum(1).argmax(1)
        scores = self.reward.score(hidden[torch.arange(len(rows)), last]).squeeze(-1).float()
        kl = pg.kl(old, reference, self.config.kl_estimator)
        rewards = pg.shaped_rewards(scores, kl, answers, self.config.kl_coef)
        gain = pg.advantages(rewards, values, answers, self.config.gamma, self.config.lam)
        white = torch.zeros_like(gain).masked_scatter(answers, pg.whiten(gain[answers], gain[answers]))
        return {"old": old, "values": values, "advantages": white, "returns": gain + values}

    def update(self, rows: Tensor, mask: Tensor, answers: Tensor, measured: dict[str, Tensor]) -> None:
        """Take the optimiser's steps of all epochs and minibatches."""
        config = self.config
        for _ in range(config.epochs):
            for part in torch.randperm(len(rows)).chunk(config.minibatches):
                at, given = answers[part], {name: x[part][answers[part]] for name, x in measured.items()}
                with self.autocast():
                    new = self.logprobs(self.policy, rows[part], mask[part], at)[at]
                    guess = self.values(rows[part], mask[part], at)[at]
                loss, _ = pg.policy_loss(new, given["old"], given["advantages"], config.clip)
                worth = pg.value_loss(guess, given["values"], given["returns"], config.value_clip)
                (loss.mean() + config.value_coef * worth.mean()).backward()
                nn.utils.clip_grad_norm_([*self.policy.parameters(), *self.value.parameters()], config.max_grad_norm)
                self.optimizer.step()
                self.optimizer.zero_grad()

    def logprobs(self, model: Any, rows: Tensor, mask: Tensor, answers: Tensor, entropy: bool = False) -> Tensor:
        """Return the log-probability of each answer token, ``[A, T]``; with ``entropy``, ``[A, T, 2]``."""
        kept = answers.shape[1] + 1
        logits = model(
            input_ids=rows, attention_mask=mask, position_ids=places(mask), logits_to_keep=kept, use_cache=False
        ).logits[:, :-1]
        flat, targets = logits.flatten(0, 1), rows[:, 1 - kept :].flatten()
        read = _with_entropy(flat, targets, 1.0) if entropy else logprobs(flat, targets)
        return read.view(*answers.shape, *read.shape[1:])

    def values(self, rows: Tensor, mask: Tensor, answers: Tensor) -> Tensor:
        """Return the value before each answer token, ``[A, T]``."""
        hidden = self.value.model(
            input_ids=rows, attention_mask=mask, position_ids=places(mask), use_cache=False
        ).last_hidden_state[:, -answers.shape[1] - 1 : -1]
        values: Tensor = self.value.score(hidden).squeeze(-1).float()
        return values


def places(mask: Tensor) -> Tensor:
    """Return each token's position, counted from its row's first."""
    return (mask.cumsum(1) - 1).clamp(min=0)

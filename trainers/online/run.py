"""Methods that learn from what the policy writes: their runs, from settings to a model. See `trainers.run`."""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NoReturn, TypeVar

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback, set_seed

from base.errors import InputError
from critic.chats.chat import Chat
from critic.engines import parse_spec
from critic.local.loading import default_dtype, load_tokenizer
from critic.records import Quarantined
from trainers import models
from trainers.config import check_shares
from trainers.folder import finish, results
from trainers.folder.disk import saving
from trainers.folder.finish import Saved
from trainers.folder.identity import claim, finished, identity
from trainers.folder.results import Trained, TrainingCounts
from trainers.folder.samples import SHARE, Samples
from trainers.gate import named
from trainers.method import Method, Tell
from trainers.models import Trainee, start_of
from trainers.online import prompts
from trainers.online.config import OnlineConfig, reward_folder
from trainers.online.loop import OnlineTrainer
from trainers.online.models import check_settings
from trainers.online.prompts import Asks
from trainers.online.reward_gate import certified_rewards
from trainers.online.scoring import SERVERS, check_sources, expect_sources
from trainers.planning.records import ModelShape, StepWork
from trainers.planning.settings import is_sharded, refuse_sharded
from trainers.planning.shapes import CONFIG, WeightlessModel, folder_of

C = TypeVar("C", bound=OnlineConfig)


@dataclass(frozen=True, kw_only=True)
class Online(Method[C]):
    """A method whose policy writes what it learns from. ``trainer`` is the class of its trainer."""

    trainer: Callable[..., OnlineTrainer]

    def work(self, config: C, processes: int) -> StepWork:
        """See `Method.work`. The largest batch has the longest prompts and answers."""
        prompts = max(1, config.prompts_per_step // processes)
        device = "cpu" if config.use_cpu else "cuda"
        together = min(config.per_device_train_batch_size, prompts)
        return StepWork(
            examples=together,
            answers=config.samples_per_prompt,
            prompt=max(1, config.max_length - config.max_new_tokens),
            answer=config.max_new_tokens,
            accumulates=prompts > together * config.minibatches,
            slots=min(config.rollout_batch, prompts * config.samples_per_prompt),
            rewards=sum(_reward_bytes(spec, device) for spec in _rewards(config)),
            values=_values(config) if self.plan.critic else 0,
        )

    def check(self, config: C) -> None:
        """See `Method.check`: rewards are opened once the policy is loaded and has written samples."""
        check_sources(config)
        if config.lora:
            check_settings(config.lora, config.model)
        if config.max_new_tokens >= config.max_length:
            refuse_without_prompt(config)

    def expect(self, config: C) -> None:
        """See `Method.expect`: what gives rewards is named, too."""
        super().expect(config)
        expect_sources(config)

    def train(self, config: C, callbacks: Sequence[TrainerCallback], tell: Tell) -> Trained:
        """See `Method.train`. Raises `InputError` where it was started with FSDP or DeepSpeed."""
        if is_sharded():
            refuse_sharded(self.name)
        folder = Path(config.output_dir or "")
        asks, held_out = read_prompts(config, load_tokenizer(start_of(config)))
        if done := finished(self.name, config, asks.sha256):
            return Trained.of(folder, done, new=False)
        trainee = load_policy(config)
        refused = [*asks.refused, *(held_out.refused if held_out else ())]
        why = Counter(row.reason for row in refused)
        counts = TrainingCounts(len(asks.asks), len(held_out.asks) if held_out else 0, dict(why))
        run = identity(self.name, config, asks.sha256, trainee.revision)
        with config.main_process_first(local=False, desc="claiming the folder"):
            claim(folder, run)
        samples = _before(config, trainee, held_out or asks, refused)
        if config.process_index == 0:
            tell(counts)
        assert isinstance(trainee.model, PreTrainedModel)
        set_seed(config.seed)
        trainer = self.trainer(trainee.model, config, asks, trainee.tokenizer, held_out, callbacks=callbacks)
        try:
            certificates = certified_rewards(config, trainer.taught_by)
            trainer.train()
        finally:
            trainer.close()
        facts = results.facts(counts, results.figures(folder), trainer.state.global_step) | named(certificates)
        if config.process_index == 0:
            policy, saved = _save(trainer, trainee, folder)
            facts |= {"batches": trainer.proof.facts(), "saved": saved.facts()}
            samples.take("after", policy, trainee.tokenizer)
            constitutions = [taught["constitution"] for taught in trainer.taught_by if "constitution" in taught]
            others = list(filter(None, map(reward_folder, config.reward_specs)))
            results.write(self.made, config, run, constitutions, facts, samples.rows, others)
        return Trained.of(folder, facts, new=True)


def _rewards(config: OnlineConfig) -> list[str]:
    """Return what gives rewards."""
    return [*config.reward_specs, *([config.heldout_reward] if config.heldout_reward else [])]


def _reward_bytes(spec: str, default: str) -> int:
    """Return the bytes of a model that gives rewards and lies beside the policy; 0 of what answers from elsewhere.

    Raises `InputError` for a model that is not here.
    """
    if spec.startswith(SERVERS):
        return 0
    parsed = parse_spec(spec)
    options = dict(parsed.options)
    place = torch.device(options.get("device", default))
    if not parsed.holds_weights or place.type != default:
        return 0
    each = getattr(torch, options.get("dtype", ""), default_dtype(place)).itemsize
    weights = _shape(parsed.target or parsed.kind, parsed.gives == "rewards").weights
    return each * weights + (int(options.get("kv_gib", "0")) << 30)


def _values(config: OnlineConfig) -> int:
    """Return the weights of the model of values, where it may begin as the reward model; else 0.

    It does if that reads the same tokens. A configuration says how many those are, and no more.
    """
    folder = reward_folder(config.reward)
    if not folder or config.lora:
        return 0
    rewards = _shape(folder, True)
    return rewards.weights if rewards.vocabulary == _shape(config.model, False).vocabulary else 0


def _shape(model: str, scored: bool) -> ModelShape:
    """Return a model's shape; it is read once for each time that its configuration has been written."""
    return _shape_of(model, scored, (folder_of(model) / CONFIG).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _shape_of(model: str, scored: bool, written: int) -> ModelShape:
    return WeightlessModel(model, heads=1 if scored else None).shape


def _save(trainer: OnlineTrainer, trainee: Trainee, folder: Path) -> tuple[PreTrainedModel, Saved]:
    """Save the policy where `from_pretrained` finds it, and read it again."""
    row = finish.row_of(trainer.short)
    with saving("the finished model", folder):
        policy = trainer.models.finished(folder, row)

        def write() -> None:
            policy.save_pretrained(folder)
            trainee.tokenizer.save_pretrained(folder)

        return policy, finish.save(policy, row, trainee.dtype, trainee.dropped, folder, write)


def load_policy(config: OnlineConfig) -> Trainee:
    """Load the policy without adapters: the loop puts its own on."""
    plain = copy.copy(config)
    plain.lora = None
    return models.policy(plain)


def refuse_without_prompt(config: OnlineConfig) -> NoReturn:
    """Raise `InputError`: answers take all the tokens that a chat may have."""
    raise InputError(
        f"max_length is {config.max_length}, and max_new_tokens {config.max_new_tokens}: no prompt fits",
        where="max_length",
        fix=f"max_length={config.max_length + config.max_new_tokens}",
    )


def read_prompts(config: OnlineConfig, tokenizer: PreTrainedTokenizerBase) -> tuple[Asks, Asks | None]:
    """Read the prompts to train on, and those held out, if any. Raises `InputError`."""
    longest = config.max_length - config.max_new_tokens
    if longest < 1:
        refuse_without_prompt(config)
    chat = Chat(tokenizer, config.model)
    asks = prompts.read(config.data, chat, longest)
    if config.eval_data:
        return asks, prompts.read(config.eval_data, chat, longest)
    if not config.eval_share:
        return asks, None
    asks, held_out = asks.hold_out(config.eval_share)
    check_shares(config, len(asks.asks), len(held_out.asks), "prompts")
    return asks, held_out


def _before(config: OnlineConfig, trainee: Trainee, shown: Asks, refused: Sequence[Quarantined]) -> Samples:
    """Write what was refused, and samples of the policy as it is before; by one process of all."""
    folder, main = Path(config.output_dir or ""), config.process_index == 0
    written = config.max_steps * config.prompts_per_step * config.samples_per_prompt * config.max_new_tokens
    shown_prompts = [ask.prompt for ask in shown.asks] if main else []
    samples = Samples(folder, shown_prompts, config.seed, int(SHARE * written))
    if main:
        results.write_refused(folder, refused)
        samples.take("before", trainee.model, trainee.tokenizer)
    return samples

"""A run of PPO in a folder, from settings to a model: what `trainers.run.train` is to the other trainers."""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from transformers import PreTrainedModel, TrainerCallback, set_seed

from base.errors import InputError
from critic.chats.chat import Chat
from critic.records import Quarantined
from critic.run.folder.results import replace_text
from trainers import models
from trainers.folder import finish, results
from trainers.folder.disk import saving
from trainers.folder.finish import Saved
from trainers.folder.identity import claim, finished, identity
from trainers.folder.results import Counts, Trained
from trainers.folder.samples import Samples
from trainers.gate import certified_reward, named
from trainers.models import Trainee
from trainers.online import prompts
from trainers.online.config import PPOConfig
from trainers.online.prompts import Asks
from trainers.ppo import PPOTrainer


def train(config: PPOConfig, callbacks: Sequence[TrainerCallback], tell: Callable[[Counts], None]) -> Trained:
    """See `trainers.run.train`."""
    folder = Path(config.output_dir or "")
    trainee = load_policy(config)
    asks, held_out = read_prompts(config, trainee)
    if done := finished(config, asks.sha256):
        return Trained.of(folder, done, new=False)
    refused = [*asks.refused, *(held_out.refused if held_out else ())]
    why = Counter(row.reason for row in refused)
    counts = Counts(len(asks.asks), len(held_out.asks) if held_out else 0, dict(why))
    run = identity(config, asks.sha256, trainee.revision)
    with config.main_process_first(local=False, desc="claiming the folder"):
        claim(folder, run)
    samples = _before(config, trainee, held_out or asks, refused)
    if config.process_index == 0:
        tell(counts)
    assert isinstance(trainee.model, PreTrainedModel)
    set_seed(config.seed)
    trainer = PPOTrainer(trainee.model, config, asks, trainee.tokenizer, held_out, callbacks=callbacks)
    try:
        certificates = certified_reward(config, trainer.reward.identity)
        trainer.train()
    finally:
        trainer.close()
    found = results.facts(counts, results.figures(folder), trainer.state.global_step)
    if config.process_index == 0:
        policy, saved = _save(trainer, trainee, folder)
        found |= {"batches": trainer.proof.facts(), "saved": saved.facts()}
        samples.take("after", policy, trainee.tokenizer)
        taught = trainer.reward.identity
        constitutions = [taught["constitution"]] if "constitution" in taught else []
        others = [config.reward.removeprefix("rm:")] if config.reward.startswith("rm:") else []
        results.write(config, run, constitutions, found | named(certificates), samples.rows, others)
    return Trained.of(folder, found, new=True)


def _save(trainer: PPOTrainer, trainee: Trainee, folder: Path) -> tuple[PreTrainedModel, Saved]:
    """Save the policy where `from_pretrained` finds it, and read it again."""
    row = finish.row_of(trainer.short)
    with saving("the finished model", folder):
        policy = trainer.models.finished(folder, row)

        def write() -> None:
            policy.save_pretrained(folder)
            trainee.tokenizer.save_pretrained(folder)

        return policy, finish.save(policy, row, trainee.dtype, trainee.dropped, folder, write)


def load_policy(config: PPOConfig) -> Trainee:
    """Load the policy without adapters: PPO puts its own on."""
    plain = copy.copy(config)
    plain.lora = None
    return models.policy(plain)


def read_prompts(config: PPOConfig, trainee: Trainee) -> tuple[Asks, Asks | None]:
    """Read the prompts to train on, and those held out, if any. Raises `InputError`."""
    longest = config.max_length - config.max_new_tokens
    if longest < 1:
        raise InputError(
            f"max_length is {config.max_length}, and max_new_tokens {config.max_new_tokens}: no prompt fits",
            where="max_length",
            fix=f"max_length={config.max_length + config.max_new_tokens}",
        )
    chat = Chat(trainee.tokenizer, config.model)
    asks = prompts.read(config.data, chat, longest)
    if config.eval_data:
        return asks, prompts.read(config.eval_data, chat, longest)
    if not config.eval_share:
        return asks, None
    asks, held_out = asks.hold_out(config.eval_share)
    if not asks.asks or not held_out.asks:
        raise InputError(
            f"eval_share={config.eval_share} leaves {len(asks.asks)} prompts to train on and {len(held_out.asks)} to "
            "look at",
            where="eval_share",
            fix="give more data, another share, or eval_data",
        )
    return asks, held_out


def _before(config: PPOConfig, trainee: Trainee, shown: Asks, refused: Sequence[Quarantined]) -> Samples:
    """Write what was refused, and samples of the policy as it is before; by one process of all."""
    folder, main = Path(config.output_dir or ""), config.process_index == 0
    samples = Samples(folder, [ask.prompt for ask in shown.asks] if main else [], config.seed)
    if main:
        replace_text(folder / "refused.jsonl", "".join(row.model_dump_json() + "\n" for row in refused))
        samples.take("before", trainee.model, trainee.tokenizer)
    return samples

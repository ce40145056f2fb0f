"""The same rows, weights and settings in TRL's trainers and in these give the same losses and gradients, in float32."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from critic.chats.tokens import TokenTree
from critic.local import embedded
from trainers.batches.packing import packed
from trainers.methods.dpo import DPOConfig, DPOTrainer
from trainers.methods.reward import RewardConfig, RewardTrainer
from trainers.methods.sft import SFTConfig, SFTTrainer
from trainers.models import policy, reward_model
from trainers.trainer import TreeTrainer

from .tiny import write_model

pytestmark = pytest.mark.slow

TEXT = "river stone quiet amber window copper lantern meadow thread harbour seven gentle because over"
WORDS = TEXT.split()
ONE_BATCH, TWENTY_STEPS = 1e-4, 1e-3
SHARED: dict[str, Any] = {
    "per_device_train_batch_size": 2,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "train_sampling_strategy": "sequential",
    "num_train_epochs": 1,
    "logging_steps": 1,
    "report_to": "none",
    "save_strategy": "no",
    "use_cpu": True,
    "bf16": False,
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
}


def says(rng: random.Random, least: int, most: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(least, most)))


def pairs(count: int) -> list[dict[str, Any]]:
    rng = random.Random("parity")
    return [
        {
            "prompt": [{"role": "user", "content": says(rng, 4, 24)}],
            "chosen": [{"role": "assistant", "content": says(rng, 2, 14)}],
            "rejected": [{"role": "assistant", "content": says(rng, 2, 14)}],
        }
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def trl() -> Any:
    import trl

    return trl


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with a token for each byte, on which twenty steps take a second."""
    return write_model(tmp_path_factory.mktemp("parity") / "tiny")


def steps(trainer: Any) -> tuple[list[float], list[float]]:
    """Train; return each step's loss, unrounded, and its gradient norm."""
    losses: list[float] = []
    norms: list[float] = []
    own_step, own_clip = trainer.training_step, trainer._clip_grad_norm

    def training_step(*args: Any, **named: Any) -> Any:
        loss = own_step(*args, **named)
        losses.append(float(loss))
        return loss

    def clip(*args: Any, **named: Any) -> Any:
        norm = own_clip(*args, **named)
        norms.append(float(norm))
        return norm

    trainer.training_step, trainer._clip_grad_norm = training_step, clip
    trainer.train()
    return losses, norms


def compare(ours: Any, theirs: Any) -> None:
    """Both one batch exactly, and twenty steps within what rounding makes of it."""
    (our_losses, our_norms), (their_losses, their_norms) = steps(ours), steps(theirs)
    assert len(our_losses) == len(their_losses) == 20
    assert our_losses[0] == pytest.approx(their_losses[0], rel=ONE_BATCH)
    assert our_norms[0] == pytest.approx(their_norms[0], rel=ONE_BATCH)
    assert our_losses == pytest.approx(their_losses, rel=TWENTY_STEPS)
    assert our_norms == pytest.approx(their_norms, rel=TWENTY_STEPS)
    assert our_losses[-1] != pytest.approx(our_losses[0], rel=TWENTY_STEPS), "nothing was learnt, so nothing compared"


def trees(trainer: TreeTrainer) -> list[TokenTree]:
    return [trainer.examples[i].tree for i in range(len(trainer.examples))]


@pytest.mark.parametrize("prefix_packing", [True, False])
def test_sft(trl: Any, folder: Path, tmp_path: Path, prefix_packing: bool) -> None:
    from datasets import Dataset

    rows = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in pairs(40)]
    config = SFTConfig(output_dir=str(tmp_path), model=str(folder), data=["rows"], max_length=512, **SHARED)
    config.prefix_packing = prefix_packing
    trainee = policy(config)
    ours = SFTTrainer(trainee.model, config, rows, trainee.tokenizer)
    ids = [
        {
            "input_ids": [*tree.segments[0].ids, *tree.segments[1].ids],
            "completion_mask": [0] * len(tree.segments[0].ids) + [1] * len(tree.segments[1].ids),
        }
        for tree in trees(ours)
    ]
    theirs = trl.SFTTrainer(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        args=trl.SFTConfig(
            output_dir=str(tmp_path), max_length=None, gradient_checkpointing=False, completion_only_loss=True, **SHARED
        ),
        train_dataset=Dataset.from_list(ids),
        processing_class=trainee.tokenizer,
    )
    compare(ours, theirs)


def test_reward(trl: Any, folder: Path, tmp_path: Path) -> None:
    from datasets import Dataset

    config = RewardConfig(output_dir=str(tmp_path), model=str(folder), data=["rows"], max_length=512, **SHARED)
    torch.manual_seed(5)
    trainee = reward_model(config, heads=1)
    trainee.model.save_pretrained(str(tmp_path / "start"))
    ours = RewardTrainer(trainee.model, config, pairs(40), trainee.tokenizer)
    ids = [
        {
            "chosen_ids": [*tree.segments[0].ids, *tree.segments[1].ids],
            "rejected_ids": [*tree.segments[0].ids, *tree.segments[2].ids],
        }
        for tree in trees(ours)
    ]
    from transformers import AutoModelForSequenceClassification

    theirs = trl.RewardTrainer(
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "start", dtype=torch.float32),
        args=trl.RewardConfig(output_dir=str(tmp_path), max_length=None, gradient_checkpointing=False, **SHARED),
        train_dataset=Dataset.from_list(ids),
        processing_class=trainee.tokenizer,
    )
    compare(ours, theirs)


@pytest.mark.parametrize(("loss", "beta"), [("sigmoid", 0.1), ("ipo", 1.0)])
def test_dpo(trl: Any, folder: Path, tmp_path: Path, loss: str, beta: float) -> None:
    from datasets import Dataset

    rows = pairs(40)
    settings = SHARED | {"learning_rate": 3e-4}
    config = DPOConfig(output_dir=str(tmp_path), model=str(folder), data=["rows"], max_length=512, **settings)
    config.loss = "ipo" if loss == "ipo" else "sigmoid"
    config.length_normalised = loss == "ipo"  # as TRL computes it
    config.beta = beta
    trainee = policy(config)
    ours = DPOTrainer(trainee.model, config, rows, trainee.tokenizer)
    theirs = trl.DPOTrainer(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        args=trl.DPOConfig(
            output_dir=str(tmp_path / "trl"),
            max_length=None,
            gradient_checkpointing=False,
            precompute_ref_log_probs=True,
            loss_type=[loss],
            beta=beta,
            **settings,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=trainee.tokenizer,
    )
    assert_same_rows(ours, theirs)
    compare(ours, theirs)


def assert_same_rows(ours: DPOTrainer, theirs: Any) -> None:
    for tree, row in zip(trees(ours), theirs.train_dataset, strict=True):
        assert [list(segment.ids) for segment in tree.segments] == [
            row["prompt_ids"],
            row["chosen_ids"],
            row["rejected_ids"],
        ]


def test_rows_in_the_embedded_models_chat(trl: Any, tmp_path: Path) -> None:
    """A real tokenizer and its template: the ids that TRL makes of a row are those of the packed one."""
    from datasets import Dataset

    tokenizer = AutoTokenizer.from_pretrained(embedded.fetch())
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    folder = write_model(tmp_path / "tiny", vocab_size=len(tokenizer), **ids)
    tokenizer.save_pretrained(folder)
    config = DPOConfig(output_dir=str(tmp_path), model=str(folder), data=["rows"], max_length=512, **SHARED)
    trainee = policy(config)
    theirs = trl.DPOTrainer(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        args=trl.DPOConfig(output_dir=str(tmp_path / "trl"), max_length=None, gradient_checkpointing=False, **SHARED),
        train_dataset=Dataset.from_list(pairs(40)),
        processing_class=trainee.tokenizer,
    )
    assert_same_rows(DPOTrainer(trainee.model, config, pairs(40), trainee.tokenizer), theirs)


def test_log_probabilities_of_the_embedded_model(trl: Any, tmp_path: Path) -> None:
    """Token by token, of the real model: TRL's head on the plain model against the packed forward."""
    from trl.trainer.utils import add_fused_lm_head

    config = DPOConfig(output_dir=str(tmp_path), data=["rows"], max_length=512, **SHARED)
    trainee = policy(config)
    trainer = DPOTrainer(trainee.model, config, pairs(4), trainee.tokenizer)
    forest = trees(trainer)
    with torch.no_grad():
        ours = trainee.model(batch=packed(forest))
    plain = AutoModelForCausalLM.from_pretrained(embedded.fetch(), dtype=torch.float32)
    add_fused_lm_head(plain)
    theirs = []
    for tree in forest:
        root = tree.segments[0].ids
        for branch in tree.segments[1:]:
            labels = torch.tensor([[-100] * len(root) + list(branch.ids)])
            with torch.no_grad():
                out = plain(input_ids=torch.tensor([[*root, *branch.ids]]), labels=labels, fused_lm_head=True)
            theirs.append(out.log_probs[0][-len(branch.ids) :])
    assert len(ours) == sum(map(len, theirs))
    torch.testing.assert_close(ours, torch.cat(theirs), rtol=0, atol=1e-4)

"""TRL's trainers take ``pairs`` and ``sft`` as they are: one step each on a tiny model with a real tokenizer."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from critic.run.folder.results import gather
from critic.run.pages.card import write_card
from tests.factories import both_orders, judgement, provenance, revision, row

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture
def trl() -> Any:
    """Imported late, since that takes seconds."""
    return importlib.import_module("trl")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Bytes as tokens, with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>", pad_token="<|pad|>")
    fast.chat_template = TEMPLATE
    return fast


@pytest.fixture(scope="module", params=["jsonl", "parquet"])
def run_directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's directory with 4 pairs; the group, the weight and the tags differ."""
    directory = tmp_path_factory.mktemp("run")
    rows = [
        row(
            i,
            [f"The Nile, river {i}.", "The Po."],
            [judgement(both_orders("calm", 2.0, 1.0), 0.8, group="north" if i % 2 else None)],
            tags=["geography"][: i % 2],
            revisions=[[revision("calm", f"The Nile ({i}).")]],
        )
        for i in range(4)
    ]
    gathered = gather(lambda: iter(rows), lambda: iter(()), provenance(), directory, request.param, config={}, calls=0)
    write_card(gathered, directory)
    return directory


def model(folder: Path, tokenizer: Any, **settings: Any) -> Any:
    """A tiny Llama, from a folder: DPO loads its reference model from where the policy came from."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, LlamaConfig

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **settings,
    )
    kind: Any = AutoModelForSequenceClassification if settings else AutoModelForCausalLM
    kind.from_config(config).save_pretrained(folder)
    return kind.from_pretrained(folder)


def load(directory: Path, table: str, cache: Path) -> Any:
    import datasets

    return datasets.load_dataset(str(directory), table, split="train", cache_dir=str(cache))


def settings(out: Path) -> dict[str, Any]:
    return {
        "output_dir": str(out),
        "max_steps": 1,
        "per_device_train_batch_size": 2,
        "learning_rate": 0.1,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
    }


def step(trainer: Any) -> float:
    """Take one step; return its loss."""
    trainer.train()
    return float(next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry))


def test_dpo_trainer_takes_pairs(run_directory: Path, trl: Any, tokenizer: Any, tmp_path: Path) -> None:
    trainer = trl.DPOTrainer(
        model(tmp_path, tokenizer),
        args=trl.DPOConfig(**settings(tmp_path)),
        train_dataset=load(run_directory, "pairs", tmp_path),
        processing_class=tokenizer,
    )
    assert step(trainer) == pytest.approx(0.6931, abs=1e-3), "log 2: model and reference are the same before a step"


def test_reward_trainer_takes_pairs_without_a_margin(
    run_directory: Path, trl: Any, tokenizer: Any, tmp_path: Path
) -> None:
    trainer = trl.RewardTrainer(
        model(tmp_path, tokenizer, num_labels=1),
        args=trl.RewardConfig(**settings(tmp_path)),
        train_dataset=load(run_directory, "pairs", tmp_path),
        processing_class=tokenizer,
    )
    assert "margin" not in trainer.train_dataset.column_names
    assert step(trainer) == pytest.approx(0.69, abs=0.1)


def test_sft_trainer_takes_sft(run_directory: Path, trl: Any, tokenizer: Any, tmp_path: Path) -> None:
    trainer = trl.SFTTrainer(
        model(tmp_path, tokenizer),
        args=trl.SFTConfig(**settings(tmp_path)),
        train_dataset=load(run_directory, "sft", tmp_path),
        processing_class=tokenizer,
    )
    assert step(trainer) == pytest.approx(5.56, abs=0.3), "about log 258, an untrained model's loss per token"

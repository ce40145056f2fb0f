"""What is exported is read by those that it is for: TRL trains on it, LLaMA-Factory's and Axolotl's loaders take it."""

import importlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.exports.offers import Offer, write
from service.formats import format_of
from tests import warm
from tests.conftest import unavailable
from tests.critic.engines.conftest import make_tokenizer
from tests.factories import small_constitution
from tests.feedback_samples import feedback

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

ROOT = Path(__file__).parents[2]
PEERS = ROOT / ".venv-peers" / "bin" / "python"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHAT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Name a lake."},
        {"role": "assistant", "content": "Lake Como."},
        {"role": "user", "content": "Name a river."},
    ]
}


def tokenizer_folder(folder: Path) -> Any:
    made = make_tokenizer()
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    made.eos_token, made.pad_token, made.chat_template = "<|im_end|>", "<|im_end|>", CHATML
    made.save_pretrained(folder)
    return made


def cai(folder: Path, *arguments: str) -> str:
    done = warm.run([warm.CAI, *arguments], folder)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_from_a_table_of_two_answers_to_a_trained_step_in_two_commands(tmp_path: Path) -> None:
    (tmp_path / "answers.csv").write_text(
        "Prompt,response_a,response_b\n" + "".join(f"Question {i}?,Yes {i}.,No {i}.\n" for i in range(8))
    )
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(small_constitution(2)))
    (tmp_path / "s.yaml").write_text("{}")
    cai(
        tmp_path, "judge", "--principles", "c.yaml", "--pairs", "answers.csv", "--judge", "scripted:s.yaml",
        "--out", "run",
    )  # fmt: skip
    told = cai(tmp_path, "export", "run", "--format", "trl", "--out", "pairs.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert len(rows) > 1 and f"pairs.jsonl: {len(rows)} rows of pairs" in told and "DPOTrainer" in told
    assert {tuple(row) for row in rows} == {("prompt", "chosen", "rejected")}
    sides = {rows[0]["chosen"][0]["content"][:3], rows[0]["rejected"][0]["content"][:3]}
    assert sides == {"Yes", "No "}
    assert dpo_loss(tmp_path) == pytest.approx(0.6931, abs=1e-3)  # log 2: the first step begins at the reference


def dpo_loss(folder: Path) -> float:
    """TRL's loss in its first step on pairs.jsonl."""
    import datasets
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    trl = importlib.import_module("trl")
    tokenizer = tokenizer_folder(folder / "tokenizer")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder / "model")
    model: Any = AutoModelForCausalLM.from_pretrained(folder / "model")
    data = datasets.load_dataset(
        "json", data_files=str(folder / "pairs.jsonl"), split="train", cache_dir=str(folder / "cache")
    )
    arguments = trl.DPOConfig(
        output_dir=str(folder / "out"), max_steps=1, per_device_train_batch_size=2, report_to="none",
        save_strategy="no", logging_steps=1, use_cpu=True, bf16=False, gradient_checkpointing=False,
    )  # fmt: skip
    trainer = trl.DPOTrainer(model, args=arguments, train_dataset=data, processing_class=tokenizer)
    trainer.train()
    return float(next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry))


def peer(loader: str, folder: Path) -> Any:
    """What a peer's loader makes of the three files that are written for it."""
    if not PEERS.is_file():
        unavailable("there is no .venv-peers; make peers sets it up")
    labels = [
        feedback("comparison", {"choice": "second"}, prompt=CHAT),
        feedback("thumbs", {"value": "down"}, texts=["The Po."], prompt=CHAT),
        feedback("demonstration", {"text": "The Nile."}, texts=[], prompt=CHAT),
    ]
    form = format_of(loader)
    entries = []
    for table in ("pairs", "ratings", "sft"):
        file = folder / f"{table}.jsonl"
        write(Offer("labels", labels=labels), form, file, table)
        entries.append(form.usage(table, file))
    if loader == "llama-factory":
        said = ", ".join(entry.partition("dataset_info.json: ")[2] for entry in entries)
        (folder / "dataset_info.json").write_text(f"{{{said}}}")
    tokenizer_folder(folder / "tokenizer")
    script = Path(__file__).with_name("peer_loaders.py")
    environment = os.environ | {"HF_HOME": str(folder / "hf"), "DISABLE_VERSION_CHECK": "1"}
    done = subprocess.run([PEERS, script, loader, folder], env=environment, capture_output=True, text=True, timeout=200)
    if "No module named" in done.stderr:
        unavailable(f"{loader} is not in .venv-peers: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_llama_factory_loads_what_is_written_for_it(tmp_path: Path) -> None:
    made = peer("llama-factory", tmp_path)
    asked = CHAT["messages"][1:]
    nothing = {"role": "assistant", "content": ""}
    po, nile = ({"role": "assistant", "content": text} for text in ("The Po.", "The Nile."))
    assert made["pairs"] == [{"_prompt": asked, "_response": [po, nile], "_system": "Be brief."}]
    assert made["ratings"] == [{"_prompt": asked, "_response": [nothing, po], "_system": "Be brief."}]
    assert made["sft"] == [{"_prompt": asked, "_response": [nile], "_system": "Be brief."}]


def test_axolotl_loads_what_is_written_for_it(tmp_path: Path) -> None:
    made = peer("axolotl", tmp_path)
    asked = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in CHAT["messages"])
    asked += "<|im_start|>assistant\n"
    assert made["pairs"] == [{"prompt": asked, "chosen": "The Po.<|im_end|>", "rejected": "The Nile.<|im_end|>"}]
    assert made["ratings"] == [{"prompt": asked, "completion": "The Po.<|im_end|>", "label": False}]
    [learnt] = made["sft"]
    assert learnt == "Lake Como.<|im_end|>The Nile.<|im_end|>"  # by its default it learns the earlier answer, too

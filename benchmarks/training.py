"""DPO, reward model and SFT: these trainers against TRL's, the same rows, batches, weights and numerics.

Prompts of 60 to 240 words, answers of 30 to 200, batches of 4, float32 weights and bfloat16 compute on both sides. TRL
sorts its rows by length, so that its batches have little padding, and both sides know the reference's log-probabilities
before the clock starts. Each run is a process of its own; its peak memory is what training adds to the loaded model's.
The limit is the ratio of the tokens that go through the layers, padding included. Beside it stands the share of the
peak of matrix products: six operations for each weight of a linear layer and each token that goes through it (forward,
and two products backward), a second, over what the best of a few large products reaches in the same process right
afterwards. Attention is not counted.

At full size it takes about half an hour on two cores with AMX that do nothing else.

``python -m benchmarks.training --beside CHECKOUT`` compares with these trainers as another checkout has them, a commit
before, in place of TRL's: the same rows and settings, and a process of its own for each run. Then it says how far the
losses of both are apart, with the same batches: see `benchmarks.same_losses`.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import same_losses
from benchmarks.figures import Measurement, alternate, peak_memory
from benchmarks.prefix_tree import text
from critic.local.loading import default_device

TITLE = "Training, beside TRL"
BATCH, RUNS = 4, 3
ROWS = {"dpo": 16, "reward": 16, "sft": 24}
PROMPT, ANSWER = (60, 240), (30, 200)  # words
SHORT = {"ROWS": {"dpo": 8, "reward": 8, "sft": 8}, "RUNS": 2, "PROMPT": (30, 100), "ANSWER": (15, 80)}
TARGETS = {"dpo": 4.0, "reward": 2.5, "sft": 2.0}
PRODUCTS = ((4096, 4096, 4096), (2048, 576, 1536), (2048, 2048, 2048))  # rows, inner, columns
TRIES = 5
ROOT = Path(__file__).parents[1]


def measure() -> list[Measurement]:
    """See the module's docstring."""
    return [figure for method in TARGETS for figure in compare(method, ROWS[method], RUNS)]


def beside(checkout: Path) -> Iterator[Measurement]:
    """Yield how many times as fast a method is as in another ``checkout`` of this project, and what it trains on.

    Both sides are given the same rows. Where the tokens of their batches differ, as they do where the other reads or
    draws them otherwise, the note says so: the ratio is then of rows.
    """
    for method in TARGETS:
        count = ROWS[method]
        rows = json.dumps(rows_of(method, count))
        runs: dict[Path, list[dict[str, float]]] = {ROOT: [], checkout: []}

        def rate(root: Path, method: str = method, rows: str = rows, runs: Any = runs, count: int = count) -> float:
            runs[root].append(trained(method, "ours", "bfloat16", rows, root))
            return float(count / runs[root][-1]["seconds"])

        measured = alternate(partial(rate, ROOT), partial(rate, checkout), RUNS)
        mine, other = (results[0]["tokens"] for results in runs.values())
        note = f"{mine:,.0f} tokens here, {other:,.0f} there; {measured.spread}"
        yield Measurement(f"{method} / the other checkout", measured.ratio, "x", note=note)


def trained(method: str, side: str, dtype: str, rows: str, root: Path) -> dict[str, float]:
    """Return what `child` does, of the checkout at ``root``, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training", method, side, dtype]
    environment = os.environ | {"PYTHONPATH": str(root)}  # before what is installed
    done = subprocess.run(command, cwd=root, env=environment, input=rows, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(method: str, count: int, runs: int, dtype: str = "bfloat16") -> list[Measurement]:
    """Train on ``count`` rows with both sides, ``runs`` times each, in turn."""
    rows = json.dumps(rows_of(method, count))
    by_side: dict[str, list[dict[str, float]]] = {"ours": [], "trl": []}

    def run(side: str) -> float:
        result = trained(method, side, dtype, rows, ROOT)
        by_side[side].append(result)
        return count / result["seconds"]

    measured = alternate(lambda: run("ours"), lambda: run("trl"), runs)
    memory, shares = {}, {}
    for side, results in by_side.items():
        memory[side] = median(result["bytes"] for result in results) / 2**30
        shares[side] = median(share(result) for result in results)
    tokens = {side: results[0]["tokens"] for side, results in by_side.items()}
    notes = {side: f"{tokens[side]:,.0f} tokens; {shares[side]:.1%} of the products' peak" for side in by_side}
    limit = f"token count {tokens['trl'] / tokens['ours']:.2f}; {measured.spread}"
    return [
        Measurement(f"{method}, {dtype} compute", measured.a, "rows/s", note=notes["ours"]),
        Measurement(f"{method}, TRL", measured.b, "rows/s", note=notes["trl"]),
        Measurement(f"{method} / TRL", measured.ratio, "x", TARGETS[method], limit),
        Measurement(
            f"{method}, peak memory of training", memory["ours"], "GiB", memory["trl"], "TRL: the bound", "at most"
        ),
    ]


def share(result: dict[str, float]) -> float:
    """Return the share of the peak that a run's matrix products came to, over its whole time."""
    return result["operations"] / result["seconds"] / result["peak"]


def rows_of(method: str, count: int) -> list[dict[str, Any]]:
    """Return conversations of random words, as TRL's formats have them."""
    rng = random.Random(f"training {method}")

    def turn(role: str, words: tuple[int, int]) -> list[dict[str, str]]:
        return [{"role": role, "content": text(rng, rng.randint(*words))}]

    rows = [
        {"prompt": turn("user", PROMPT), "chosen": turn("assistant", ANSWER), "rejected": turn("assistant", ANSWER)}
        for _ in range(count)
    ]
    return [{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows] if method == "sft" else rows


def child(method: str, side: str, dtype: str, rows: list[dict[str, Any]], batch: int = BATCH) -> dict[str, float]:
    """Train one side on ``rows``; return its seconds, the bytes it took, and the tokens of its batches."""
    with tempfile.TemporaryDirectory() as out:
        settings = {
            "output_dir": out,
            "per_device_train_batch_size": batch,
            "num_train_epochs": 1,
            "learning_rate": 1e-6,
            "bf16": dtype == "bfloat16",
            "use_cpu": default_device().type == "cpu",
            "report_to": "none",
            "save_strategy": "no",
            "disable_tqdm": True,
            "gradient_checkpointing": False,
        }
        trainer = ours(method, rows, settings) if side == "ours" else trl(method, rows, settings)
        collate, seen, read = trainer.data_collator, [], []

        def counted(examples: Any) -> Any:
            inputs = collate(examples)
            is_padded = isinstance(inputs, dict)
            seen.append(inputs["input_ids"].numel() if is_padded else len(inputs.batch.ids))
            read.append(seen[-1] if is_padded else len(inputs.batch.targets))
            return inputs

        trainer.data_collator = counted
        Path("/proc/self/clear_refs").write_text("5")  # the peak is from here on
        before = peak_memory()
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
        took = peak_memory() - before
        return {
            "seconds": seconds,
            "bytes": took,
            "tokens": float(sum(seen)),
            "operations": operations(trainer.model, sum(seen), sum(read)),
            "peak": peak(dtype),
        }


def operations(model: Any, tokens: int, read: int) -> float:
    """Return the operations of the linear layers, of which the vocabulary's sees the ``read`` tokens alone."""
    from torch import nn

    weights = {name: layer.weight.numel() for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    head = sum(count for name, count in weights.items() if name.endswith("lm_head"))
    return 6.0 * ((sum(weights.values()) - head) * tokens + head * read)


def peak(dtype: str) -> float:
    """Return the most operations a second that this process reaches in a matrix product."""
    import torch

    rates = []
    for rows, inner, columns in PRODUCTS:
        one = torch.ones(rows, inner, dtype=getattr(torch, dtype), device=default_device())
        other = torch.ones(inner, columns, dtype=one.dtype, device=one.device)
        for _ in range(TRIES):
            started = time.perf_counter()
            float((one @ other)[0, 0])  # waits for a GPU
            rates.append(2.0 * rows * inner * columns / (time.perf_counter() - started))
    return max(rates)


def ours(method: str, rows: list[dict[str, Any]], settings: dict[str, Any]) -> Any:
    """Return this project's trainer, ready to go."""
    from trainers.methods.dpo import DPOConfig, DPOTrainer
    from trainers.methods.reward import RewardConfig, RewardTrainer
    from trainers.methods.sft import SFTConfig, SFTTrainer
    from trainers.models import policy, reward_model

    settings = settings | {"data": ["rows"]}
    if method == "dpo":
        config = DPOConfig(**settings)
        trainee = policy(config)
        trainer = DPOTrainer(trainee.model, config, rows, trainee.tokenizer)
        trainer.prepare_references()
        return trainer
    if method == "sft":
        sft = SFTConfig(**settings)
        trainee = policy(sft)
        return SFTTrainer(trainee.model, sft, rows, trainee.tokenizer)
    reward = RewardConfig(**settings)
    trainee = reward_model(reward, heads=1)
    return RewardTrainer(trainee.model, reward, rows, trainee.tokenizer)


def trl(method: str, rows: list[dict[str, Any]], settings: dict[str, Any]) -> Any:
    """Return TRL's trainer, ready to go, with batches of like lengths and the reference's answers known."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from critic.local import embedded

    folder = embedded.fetch()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    def length(row: dict[str, Any]) -> int:
        sides = [row[name] for name in ("completion", "chosen", "rejected") if name in row]
        return max(
            len(tokenizer.encode(tokenizer.apply_chat_template(row["prompt"] + s, tokenize=False))) for s in sides
        )

    settings = settings | {"train_sampling_strategy": "group_by_length", "remove_unused_columns": False}
    settings |= {"dataloader_pin_memory": False, "max_length": None}
    data = Dataset.from_list([row | {"length": length(row)} for row in rows])
    kinds: dict[str, tuple[Any, Any, Any, dict[str, Any]]] = {
        "dpo": (DPOTrainer, DPOConfig, AutoModelForCausalLM, {"precompute_ref_log_probs": True}),
        "reward": (RewardTrainer, RewardConfig, AutoModelForSequenceClassification, {}),
        "sft": (SFTTrainer, SFTConfig, AutoModelForCausalLM, {"completion_only_loss": True}),
    }
    trainer, config, auto, more = kinds[method]
    labels = {"num_labels": 1} if method == "reward" else {}
    return trainer(
        auto.from_pretrained(folder, dtype=torch.float32, **labels),
        args=config(**settings, **more),
        train_dataset=data,
        processing_class=tokenizer,
    )


if __name__ == "__main__":
    if sys.argv[1] == "--beside":
        other = Path(sys.argv[2]).resolve()
        for one in chain(beside(other), same_losses.beside(list(TARGETS), other)):
            print(f"{one.name}: {one.value:.3g} {one.unit} ({one.note})", flush=True)
    else:
        print(json.dumps(child(sys.argv[1], sys.argv[2], sys.argv[3], json.load(sys.stdin))))

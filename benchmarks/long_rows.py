"""Memory of long rows: FlexAttention's mask, built in blocks, and references of eight pairs, an evaluation's batch.

For 16,384, 32,768 and 65,536 tokens, each in a process of its own on a CPU: the most memory that it held at a time,
less what it held before. At once, the mask of the last would take 31 GB. References are read in rows of at most 16,384
tokens, so that their memory doesn't grow with the batch.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.figures import Measurement, peak_memory
from benchmarks.memory import RETURNING
from benchmarks.prefix_tree import text
from critic.chats.tokens import Segment, TokenTree, pack
from critic.local.loading import default_device
from critic.local.trees.attention import CAUSAL
from critic.local.trees.flex import FlexPlan
from trainers.methods.dpo import DPOConfig, DPOTrainer
from trainers.models import policy

TITLE = "Memory of long rows"
SIZES = (16384, 32768, 65536)
SHORT = {"SIZES": (16384, 32768)}
PAIRS, WORDS_A_TOKEN = 8, 0.8
MOST = {"mask": 1.0, "references": 1.3}
"""GB of any mask, and how many times as much the longest batch may take as the shortest."""
ROOT = Path(__file__).parents[1]


def measure() -> list[Measurement]:
    """See the module's docstring."""
    memory = {}
    for part in MOST:
        memory[part] = [run(part, size) for size in SIZES]
    masks = [
        Measurement(f"mask of {size:,} tokens: peak", taken / 1e9, "GB", MOST["mask"], "", "at most")
        for size, taken in zip(SIZES, memory["mask"], strict=True)
    ]
    references = [
        Measurement(f"references of {PAIRS} pairs, {size:,} tokens: peak", taken / 1e9, "GB")
        for size, taken in zip(SIZES, memory["references"], strict=True)
    ]
    growth = memory["references"][-1] / memory["references"][0]
    grown = Measurement(
        f"{SIZES[-1]:,} tokens / {SIZES[0]:,}", growth, "x", MOST["references"], "references", "at most"
    )
    return [*masks, *references, grown]


def run(part: str, size: int) -> int:
    """Return the bytes that a part takes in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.long_rows", part, str(size)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | RETURNING, stdout=subprocess.PIPE, text=True, check=True)
    return int(json.loads(done.stdout.splitlines()[-1]))


def mask(size: int) -> int:
    """Build the mask of pairs that fill a row; return the bytes that it takes at most."""
    answer = (0,) * (size // PAIRS // 2)
    row = pack([TokenTree((Segment((0,), -1), Segment(answer[1:], 0), Segment(answer, 0)), ())] * PAIRS)
    before = forgotten()
    FlexPlan(list(row.spans), torch.device("cpu"))._block(CAUSAL)
    return peak_memory() - before


def references(size: int) -> int:
    """Compute the references of `PAIRS` pairs that fill a row; return the bytes that this takes at most."""
    rng = random.Random("long rows")
    words = int(WORDS_A_TOKEN * size / PAIRS / 2)

    def turn(role: str, count: int) -> list[dict[str, str]]:
        return [{"role": role, "content": text(rng, count)}]

    rows = [
        {"prompt": turn("user", 4), "chosen": turn("assistant", words), "rejected": turn("assistant", words)}
        for _ in range(PAIRS)
    ]
    with tempfile.TemporaryDirectory() as folder:
        config = DPOConfig(
            output_dir=folder, data=["rows"], max_length=size // PAIRS, per_device_eval_batch_size=PAIRS,
            use_cpu=default_device().type == "cpu", report_to="none", disable_tqdm=True,
        )  # fmt: skip
        trainee = policy(config)
        trainer = DPOTrainer(trainee.model, config, rows, trainee.tokenizer)
        before = forgotten()
        trainer.prepare_references()
        return peak_memory() - before


def forgotten() -> int:
    """Measure the peak anew from here on; return what is held now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


if __name__ == "__main__":
    print(json.dumps({"mask": mask, "references": references}[sys.argv[1]](int(sys.argv[2]))))

"""``python -m benchmarks.plans`` writes docs/MEMORY.md: what each method takes for a model of 8 and one of 70 billion.

The models are Llama's shapes, as configurations without weights; the settings those of the shipped configs for eight
GPUs, but for the batch: one example at a time, and 32 answers written at a time. Nothing is loaded.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trainers
from trainers import catalogue, config
from trainers.method import load
from trainers.planning.dry_run import GIGA, case_of
from trainers.planning.records import MemoryPlan
from trainers.planning.settings import Device

CONFIGS = Path(trainers.__file__ or "").parent / "configs"
PAGE = Path(__file__).parents[1] / "docs" / "MEMORY.md"
GPU = 80 * GIGA
MOST = 64
"""GPUs that are tried."""
_LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 128256, "num_key_value_heads": 8,
    "max_position_embeddings": 131072, "tie_word_embeddings": False, "dtype": "bfloat16",
}  # fmt: skip
SHAPES = {
    "8B": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32},
    "70B": {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64},
}
ADAPTERS = {"r": 64, "lora_alpha": 128, "target_modules": "all-linear"}
LEARNT = {"LoRA": (f"lora={ADAPTERS}",), "QLoRA": (f"lora={ADAPTERS}", "quantize=nf4"), "full": ("lora=null",)}
"""What learns, and the settings that say so."""
HEAD = """# Memory of training

`cai train METHOD --config FILE --dry-run` says how much memory and disk a training run needs before anything is loaded
or written: memory on each device, main memory while loading, and disk space. The model may be a folder that holds
nothing but a `config.json`. A run that can't fit is refused, and the message says what would fit: each proposal has
been planned itself before it is named. By default the plan is for this machine and for the way the command was started
(for example, under `accelerate launch`); in a container, the container's memory limit counts. The settings of FSDP and
DeepSpeed are read from the launcher: the stage, offloading, resharding, and whether one process reads the model for
all. `--processes 8 --sharded --device-memory 80` plans for another machine: eight GPUs of 80 GB that shard the weights
(FSDP). Its disk and its main memory aren't known; the plan says how much of them the run needs, and refuses nothing
for them.

The plan counts reward models and judges that run in the same process or on the same machine (`rm:`, `hf:`, `embedded`,
`vllm:`), with the memory that `kv_gib` gives vLLM. PPO's value model has the size of the reward model that it starts
from. Weights that are stored in four or eight bits can't be trained, and are refused before anything is loaded, except
those that transformers turns back into plain numbers (`fp8`, `mxfp4`) and, with `quantize: nf4`, bitsandbytes'.

Two small mixture models (Mixtral's and Qwen3's shapes, 105 million weights) were measured on a CPU with SFT. Their peak
came when the finished model was read again: with full weights, the plan was 10 % too low, and with adapters on all
experts 15 %.

The plan assumes the largest batch that the settings allow, with every chat as long as `max_length`. Weights are float32
while they are trained, and matrix products are bfloat16. The arithmetic, with its sources, is in
`trainers/planning/memory.py`. `benchmarks/RESULTS.md` compares it with peaks of the embedded model that were measured
on a CPU. It has not been compared with measurements on a GPU.

`python -m benchmarks.plans` writes the tables below. They assume

- models of Llama's shapes, and the shipped configs (`dpo-8gpu` and so on): chats of 4,096 tokens; for methods whose
  policy writes, prompts and answers of 2,048 tokens each;
- one example at a time, gradient checkpointing, and adapters of rank 64 on all linear layers;
- for methods whose policy writes, 32 answers written at a time, and a reward model of eight billion weights on the same
  GPU.

The figures are GB (10^9 bytes) on one GPU. `of 8 x 80` means one of eight GPUs of 80 GB, which shard the weights among
themselves. QLoRA (`quantize: nf4`) keeps the frozen base in four bits, which can't be sharded. Its embedding, output
table and head stay in float32, and answers are written by a copy in bfloat16.
"""
TAIL = """\
If QLoRA is refused, use LoRA, whose weights can be sharded over several GPUs. If a method whose policy writes is
refused, use OpenRLHF or verl: they shard policy, reference and rollouts, and can take this service's rewards. See
[TRAINING.md](TRAINING.md).
"""
ROW = ("weights", "gradients", "optimiser", "references", "rollouts", "reward models", "activations")


@dataclass(frozen=True)
class PlanLine:
    """A method and what learns (`LEARNT`): its plan on so many GPUs, or why there is none."""

    method: str
    learnt: str
    plan: MemoryPlan | None
    gpus: int
    refusal: str = ""

    def __str__(self) -> str:
        """A line of the table."""
        name = f"| {self.method} | {self.learnt} |"
        if self.plan is None:
            return f"{name} | | | | | | | | {self.refusal} |"
        sizes = " | ".join(f"{_part(self.plan, part) / GIGA:.1f}" for part in ROW)
        disk = self.plan.written / GIGA
        return f"{name} {sizes} | **{self.plan.peak / GIGA:.1f}** of {self.gpus} x 80 | {disk:,.0f} |"


def _part(plan: MemoryPlan, name: str) -> int:
    """Return the most of a part that is there in any phase."""

    def of(parts: Mapping[str, int]) -> int:
        return sum(size for key, size in parts.items() if key.startswith(name))

    return of(plan.always) + max(map(of, plan.phases.values()))


def lines(folder: Path, reward: Path) -> Iterator[PlanLine]:
    """Yield a line for each method and each that learns."""
    for method in catalogue.names():
        for learnt in LEARNT:
            yield line(method, learnt, folder, reward)


def line(method: str, learnt: str, folder: Path, reward: Path) -> PlanLine:
    """Plan a method on as few GPUs as it takes."""
    given = [f"model={folder}", "per_device_train_batch_size=1", "use_cpu=true", "save_total_limit=1"]
    kind = load(method)
    if kind.plan.writes:
        given += [f"reward=rm:{reward}", "rollout_batch=32"]
    given += LEARNT[learnt]
    chosen: Any = config.load(kind.config, CONFIGS / f"{method}-8gpu.yaml", given)
    case = case_of(chosen, kind.plan, kind.work(chosen, 1), Device(GPU))
    gpus = 1
    while gpus <= (1 if kind.plan.writes or chosen.quantize else MOST):
        setting = replace(case.setting, processes=gpus, sharded=gpus > 1)
        plan = replace(case, setting=setting).plan
        if plan.peak <= GPU:
            return PlanLine(method, learnt, plan, gpus)
        gpus *= 2
    return PlanLine(method, learnt, None, gpus, f"refused: {plan.peak / GIGA:,.0f} GB")


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: llama(name, Path(scratch) / name) for name in SHAPES}
        parts += [table(name, list(lines(folder, folders["8B"]))) for name, folder in folders.items()]
    return "\n".join([*parts, TAIL])


def llama(name: str, folder: Path) -> Path:
    """Write a model's configuration, without weights, into a new ``folder``; return that."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(_LLAMA | SHAPES[name]))
    return folder


def table(name: str, rows: Sequence[PlanLine]) -> str:
    """Return the section of one model."""
    head = f"| method | | {' | '.join(ROW)} | peak | disk |"
    rule = f"|---|---|{'---:|' * (len(ROW) + 2)}"
    return "\n".join([f"## A model of {name}", "", head, rule, *map(str, rows), ""])


if __name__ == "__main__":
    PAGE.write_text(page())

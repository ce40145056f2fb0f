"""Loads a model as a process that was started for FSDP does, and prints by how much its memory grew, in bytes.

``python -m tests.trainers.load_child MODEL OUT`` under ``torch.distributed.run``.
"""

import sys
from pathlib import Path
from typing import Any

import torch

from trainers import models
from trainers.methods.sft import SFTConfig


def resident() -> int:
    """The memory that the process has now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def main(model: str, out: Path) -> None:
    torch.set_num_threads(1)
    settings: dict[str, Any] = {"use_cpu": True, "bf16": False, "ddp_backend": "gloo", "report_to": "none"}
    config = SFTConfig(output_dir=str(out / "run"), model=model, data=["none"], max_length=256, **settings)
    before = resident()
    loaded = models.policy(config)
    (out / f"grown-{config.process_index}").write_text(str(resident() - before))
    assert sum(weight.numel() for weight in loaded.model.parameters()) > 0
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

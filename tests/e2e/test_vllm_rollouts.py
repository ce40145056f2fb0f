"""Rollouts by vLLM: after an update of the weights it writes what the new ones say, as the writer in this process."""

import json
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_the_text_follows_the_new_weights(vllm_python: Path, embedded_model: Path) -> None:
    script = Path(__file__).with_name("vllm_rollouts.py")
    done = subprocess.run(
        [vllm_python, script, embedded_model], cwd=script.parents[2], capture_output=True, text=True, timeout=600,
        check=False, env={"PATH": "/usr/bin:/bin", "VLLM_CPU_KVCACHE_SPACE": "1", "PYTHONPATH": str(script.parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    for when in ("before", "after"):
        ours, theirs = told[f"hf {when}"], told[f"vllm {when}"]
        wanted = [sample["ids"] for sample in ours]
        assert [sample["ids"] for sample in theirs] == wanted
        written = [sample["text"] for sample in ours]
        assert [sample["text"] for sample in theirs] == written
        assert not any(sample["problem"] for sample in theirs)
    expected = [sample["ids"] for sample in told["vllm after"]]
    assert [sample["ids"] for sample in told["vllm before"]] != expected

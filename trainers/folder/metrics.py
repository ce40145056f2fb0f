"""``metrics.jsonl``: everything that a trainer logs, one JSON object a line, with its step."""

import json
import math
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from critic.run.folder.results import replace_text

FILE = "metrics.jsonl"


class MetricsFile(TrainerCallback):
    """Appends each log to the file. A run that goes on from step N first drops what was logged after it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Keep what belongs to the steps that were taken."""
        if state.is_world_process_zero:
            rows = [row for row in read(self._file.parent) if row["step"] <= state.global_step]
            replace_text(self._file, "".join(json.dumps(row) + "\n" for row in rows))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **others: Any,
    ) -> None:
        """Append one line."""
        if state.is_world_process_zero and logs:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step} | _finite(logs)) + "\n")


def read(folder: Path) -> list[dict[str, Any]]:
    """Return what the run in ``folder`` has logged, oldest first; a last line that was cut off is left out."""
    file = folder / FILE
    lines = file.read_text("utf-8").split("\n")[:-1] if file.is_file() else []
    return [json.loads(line) for line in lines]


def _finite(logs: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: null stands for it."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in logs.items()}

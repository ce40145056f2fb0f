"""How far a training run is: the bar of `service.cli.shown.progress`, moved by the trainer's own events."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from service.cli.shown.progress import Bar


class StepBar(TrainerCallback):
    """Counts the steps that are left."""

    def __init__(self) -> None:
        self._bar: Bar | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Show the bar, in one process of all."""
        if state.is_world_process_zero:
            self._bar = Bar("steps", state.max_steps - state.global_step)
            self._bar.__enter__()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        """Count a step."""
        if self._bar is not None:
            self._bar.advance()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Take the bar away."""
        self.close()

    def close(self) -> None:
        """Take the bar away, also where training was cut short."""
        if self._bar is not None:
            self._bar.__exit__()
            self._bar = None

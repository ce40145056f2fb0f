"""TRL's GRPOTrainer takes these rewards: whole batches, groups by equal prompts, None for what can't be read."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from critic.engine import Lane
from critic.records import Prompt
from critic.rewarding import trl
from critic.rewarding.grade import Grade
from critic.rewarding.sources import EngineRewards
from tests.trainers.test_rewards import Lengths
from tests.trainers.tiny import question, write_model


def test_groups_are_equal_prompts_and_none_is_none() -> None:
    source = EngineRewards(Lengths())
    turns = [{"role": "user", "content": "Another?"}]
    prompts: list[Any] = ["Name a river.", turns, "Name a river.", turns]
    answers: list[Any] = ["one", [{"role": "assistant", "content": "three"}], "too long", "broken"]
    grades = asyncio.run(trl.grades_of(source, prompts, answers))
    assert [grade.reward for grade in grades] == [3.0, 5.0, None, None]
    assert "too many tokens" in grades[2].problem


class Length(EngineRewards):
    """Gives an answer's letters, so that what was read of it shows."""

    async def grades(self, prompt: Prompt, texts: Sequence[str], lane: Lane = "batch") -> list[Grade]:
        return [Grade.of(len(text)) for text in texts]


def test_what_a_policy_says_is_read_and_not_what_it_thought_or_called() -> None:
    call = {"type": "function", "function": {"name": "look", "arguments": {}}}
    completions: list[Any] = [
        "<think>A long thought.</think>\n\nPo.",
        "<think>It never ended",
        [{"role": "assistant", "content": [{"type": "text", "text": "Po, "}, {"type": "text", "text": "or Rhine"}]}],
        [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "content": "None"}],
        [{"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "assistant", "content": "Po"}],
        [{"role": "assistant", "content": [{"type": "image", "image": "..."}]}],
        "",
    ]
    grades = asyncio.run(trl.grades_of(Length(Lengths()), ["Name a river."] * len(completions), completions))
    assert [grade.reward for grade in grades] == [3.0, None, 12.0, None, 3.0, None, 0.0]
    assert grades[1].problem == grades[3].problem == trl.NO_ANSWER and grades[5].problem


def test_a_prompt_that_is_no_chat_of_texts_is_named() -> None:
    prompts: list[Any] = ["Name a river.", [{"role": "user", "content": [{"type": "image", "image": "..."}]}]]
    with pytest.raises(InputError, match="can't be read") as told:
        asyncio.run(trl.grades_of(Length(Lengths()), prompts, ["a", "b"]))
    assert told.value.where == "prompts[1]"


def test_a_rule_is_a_reward_function_and_has_a_name() -> None:
    rewards = trl.reward_function("verify:max-words=2")
    given = asyncio.run(_awaited(rewards(prompts=["A?"] * 2, completions=["a b", "a b c"], trainer_state=None)))
    assert given == [4.0, 0.0] and getattr(rewards, "__name__", "") == "verify_score"


async def _awaited(work: Any) -> Any:
    return await work


@pytest.mark.slow
def test_trl_s_trainer_takes_three_steps(tmp_path: Path) -> None:
    """TRL's own code, which awaits the function beside its loop; rewards are those of the rule for what it wrote."""
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    rows = Dataset.from_list([{"prompt": [{"role": "user", "content": question(i)}]} for i in range(8)])
    args = GRPOConfig(
        output_dir=str(tmp_path / "out"), max_steps=3, per_device_train_batch_size=4, num_generations=4,
        max_completion_length=8, use_cpu=True, bf16=False, report_to="none", logging_steps=1, save_strategy="no",
        disable_tqdm=True, gradient_checkpointing=False,
    )  # fmt: skip
    rewards: Any = trl.reward_function("verify:contains=e")  # TRL takes coroutines, and types none
    trainer = GRPOTrainer(
        model=str(write_model(tmp_path / "model")),
        args=args,
        reward_funcs=rewards,
        train_dataset=rows,
    )
    trainer.train()
    logged = [row["rewards/verify_score/mean"] for row in trainer.state.log_history if "reward" in row]
    assert trainer.state.global_step == 3 and len(logged) == 3 and all(0 <= mean <= 4 for mean in logged)

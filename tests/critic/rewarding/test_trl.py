"""TRL's GRPOTrainer takes these rewards: whole batches, groups by equal prompts, None for what can't be read."""

import asyncio
import json
import os
import pickle
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from critic.engine import Lane
from critic.records import Prompt
from critic.rewarding import trl
from critic.rewarding.grade import Grade
from critic.rewarding.sources import EngineRewards
from tests.factories import small_constitution
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
    with closing(trl.reward_function("verify:max-words=2")) as rewards:
        given = asyncio.run(rewards(prompts=["A?"] * 2, completions=["a b", "a b c"], trainer_state=None))
    assert given == [4.0, 0.0] and rewards.__name__ == "verify_score"


def test_a_reward_function_is_pickled_to_another_process_and_opens_its_own_engine() -> None:
    with closing(trl.reward_function("verify:max-words=2")) as rewards:
        asyncio.run(rewards(["A?"], ["a b"]))
        with closing(pickle.loads(pickle.dumps(rewards))) as copy:
            assert copy.__name__ == rewards.__name__ and asyncio.run(copy(["A?"], ["a b"])) == [4.0]


def test_a_forked_process_does_not_wait_for_a_thread_that_it_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    rewards = trl.reward_function("verify:max-words=2")
    assert asyncio.run(rewards(["A?"], ["a b"])) == [4.0]
    with monkeypatch.context() as forked:
        of_parent = rewards._runner
        forked.setattr(os, "getpid", lambda: -1)
        assert asyncio.run(rewards(["A?"], ["a b"])) == [4.0] and rewards._runner is not of_parent
        rewards.close()
    assert of_parent is not None
    of_parent.close()


def test_its_engine_lives_on_one_loop_and_is_closed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a client of a server keeps open belongs to the loop that it was opened on."""
    loops: list[object] = []

    class Engine(Lengths):
        async def close(self) -> None:
            loops.append("closed")

    class Noting(EngineRewards):
        async def grades(self, prompt: Prompt, texts: Sequence[str], lane: Lane = "batch") -> list[Grade]:
            loops.append(asyncio.get_running_loop())
            return [Grade.of(len(text)) for text in texts]

    def opened(settings: trl.RewardSettings) -> Any:
        engine = Engine()
        return engine, Noting(engine)

    monkeypatch.setattr(trl.RewardSettings, "open", opened)
    rewards = trl.reward_function("verify:max-words=2")
    for _ in range(2):
        assert asyncio.run(rewards(["A?"], ["two"])) == [3.0]
    rewards.close()
    rewards.close()
    assert loops[0] is loops[1] and loops[2:] == ["closed"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"judge_by": "pairwise"}, "judge_by is 'pairwise'"),
        ({"judge_by": "comparison"}, "a judge compares under principles"),
        ({"judge_mode": "cot"}, "judge_mode is of comparisons"),
        ({"opponents": 0}, "opponents is 0"),
        ({"principles": "honesty@1.0.0"}, "reads no principles"),
        ({"engine": "embedded"}, "gives no rewards by itself"),
        ({"engine": "embedded", "principles": "nosuch@1.0.0"}, "no published constitution"),
        ({"engine": "embedded", "principles": "honesty", "judge_by": "comparison", "judge_mode": "x"}, "no judge mode"),
    ],
)
def test_what_can_t_be_is_refused_before_a_model_is_loaded(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        trl.reward_function(**({"engine": "verify:max-words=2"} | settings))


def test_principles_of_which_none_applies_are_refused(tmp_path: Path) -> None:
    """A trainer's prompts have no tags; all answers would be without a reward, and nothing learnt."""
    content = small_constitution(2)
    for principle in content["principles"]:
        principle["applies_to"] = ["medicine"]
    file = tmp_path / "tagged.yaml"
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match="applies to a prompt without tags"):
        trl.reward_function("embedded", str(file))


def test_why_answers_have_no_reward_is_told(caplog: pytest.LogCaptureFixture) -> None:
    given: list[Any] = ["a", "<think>It never ended", None]
    with closing(trl.reward_function("verify:max-words=2")) as rewards:
        assert asyncio.run(rewards(["A?"] * 3, given)) == [4.0, None, None]
        assert f"2 of 3 answers have no reward; the first: {trl.NO_ANSWER}" in caplog.text
        with pytest.raises(InputError, match="1 prompts and 3 completions"):
            asyncio.run(rewards(["A?"], given))


@pytest.mark.slow
def test_trl_s_trainer_takes_three_steps(tmp_path: Path, request: pytest.FixtureRequest) -> None:
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
    request.addfinalizer(rewards.close)
    trainer = GRPOTrainer(
        model=str(write_model(tmp_path / "model")),
        args=args,
        reward_funcs=rewards,
        train_dataset=rows,
    )
    trainer.train()
    logged = [row["rewards/verify_score/mean"] for row in trainer.state.log_history if "reward" in row]
    assert trainer.state.global_step == 3 and len(logged) == 3 and all(0 <= mean <= 4 for mean in logged)

"""OpenRLHF's and verl's own clients of rewards, for `test_rl_clients.py`, in the environment that has them.

``python rl_client.py`` reads a JSON object a line from standard input and prints, for each, what the client made of the
service's answers, also as JSON: ``made``, or ``failed`` with the traceback. Importing verl takes much longer than all
that is asked of it, so one process answers all tests of a project. Only what needs a GPU is not theirs: vLLM's part in
OpenRLHF, the tokens of answers, is given.
"""

import asyncio
import json
import os
import sys
import traceback
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

Asked = dict[str, Any]


def openrlhf(asked: Asked) -> Any:
    """The path of one rollout: `SingleTurnAgentExecutor.execute` asks, `SamplesGenerator` makes it an experience."""
    sys.modules |= {name: MagicMock() for name in ("vllm", "vllm.inputs", "vllm.utils")}
    from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    tokenizer = _tokenizer(asked)
    executor = SingleTurnAgentExecutor(asked["url"])
    sampling = SimpleNamespace(max_tokens=4096, logprobs=None)

    async def rollout(row: dict[str, str]) -> dict[str, Any]:
        prompt = tokenizer.apply_chat_template(_messages(row), tokenize=False, add_generation_prompt=True)
        tokens = tokenizer(row["answer"], add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        written = SimpleNamespace(outputs=[SimpleNamespace(token_ids=tokens, finish_reason="stop", logprobs=None)])

        async def generate(*_: Any, **__: Any) -> Any:
            return written

        engine = SimpleNamespace(generate=generate)
        rolled: dict[str, Any] = await executor.execute(prompt, None, sampling, 8192, tokenizer, engine)
        return rolled

    async def rollouts() -> list[dict[str, Any]]:
        return await asyncio.gather(*(rollout(row) for row in asked["rows"]))

    generator = SamplesGenerator.__new__(SamplesGenerator)
    made = [generator._process_response_into_experience(rolled, max_len=8192) for rolled in asyncio.run(rollouts())]
    return [
        {
            "rewards": None if one.rewards is None else one.rewards.flatten().tolist(),
            "scores": None if one.scores is None else one.scores.flatten().tolist(),
            "info": sorted(one.info),
        }
        for one in made
    ]


def verl(asked: Asked) -> Any:
    """A reward loop's worker, with the custom reward function that its config names, for each answer by itself."""
    from omegaconf import OmegaConf
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker

    function = {"path": asked["path"], "name": "compute_score", "reward_kwargs": asked["service"]}
    reward = {
        "custom_reward_function": function,
        "reward_manager": {"source": "register", "name": "naive"},
        "reward_model": {"enable": False},
    }
    model = {"path": asked["tokenizer"], "tokenizer_path": None}
    worker = RewardLoopWorker(OmegaConf.create({"reward": reward, "actor_rollout_ref": {"model": model}}))
    data = _rollout(asked)
    scored = worker.loop.run_until_complete(worker.compute_score_batch(data))
    return _by_answer(worker.reward_manager.assemble_rm_scores(data, [one["reward_score"] for one in scored]))


def verl_batch(asked: Asked) -> Any:
    """The reward manager ``batch``, which asks for all answers at once."""
    from verl.utils.import_utils import load_extern_object
    from verl.workers.reward_manager.batch import BatchRewardManager

    scores = partial(load_extern_object(asked["path"], "compute_scores"), **asked["service"])
    return _by_answer(BatchRewardManager(_tokenizer(asked), 0, scores)(_rollout(asked)))


def _by_answer(rewards: Any) -> list[float]:
    """The rewards of tokens ``[B, T]``, each at the answer's last token, as one an answer."""
    assert ((rewards != 0).sum(-1) <= 1).all()
    values: list[float] = rewards.sum(-1).tolist()
    return values


def _rollout(asked: Asked) -> Any:
    """The answers as verl's trainer holds them: prompts padded on the left, answers on the right."""
    import numpy as np
    import torch
    from verl import DataProto

    tokenizer, rows = _tokenizer(asked), asked["rows"]
    prompts = [tokenizer.apply_chat_template(_messages(row), add_generation_prompt=True)["input_ids"] for row in rows]
    answers = [tokenizer(row["answer"])["input_ids"] + [tokenizer.eos_token_id] for row in rows]
    padded = [tokenizer.pad({"input_ids": part}, padding_side=side, return_tensors="pt")
              for part, side in ((prompts, "left"), (answers, "right"))]  # fmt: skip
    tensors = {
        "prompts": padded[0]["input_ids"],
        "responses": padded[1]["input_ids"],
        "attention_mask": torch.cat([part["attention_mask"] for part in padded], dim=1),
    }
    reward_model = np.array([{"ground_truth": ""} for _ in rows], dtype=object)
    return DataProto.from_dict(
        tensors=tensors,
        non_tensors={
            "data_source": np.array(["rivers"] * len(rows), dtype=object),
            "reward_model": reward_model,
            "extra_info": np.array([{"prompt": np.array(_messages(row))} for row in rows], dtype=object),
        },
    )


def _messages(row: dict[str, str]) -> list[dict[str, str]]:
    return [{"role": "user", "content": row["prompt"]}]


def _tokenizer(asked: Asked) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(asked["tokenizer"])


if __name__ == "__main__":
    # What the clients themselves print is no answer.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"made": {"openrlhf": openrlhf, "verl": verl, "verl_batch": verl_batch}[asked["client"]](asked)}
        except Exception:  # whatever stops a trainer is for the test to judge
            answer = {"failed": traceback.format_exc()}
        print(json.dumps(answer), file=answers)

"""Models of many architectures take one step of each trainer, and its loss is that of a plain computation.

Batches are packed or padded as the proof finds; which of both is asked of a sample alone.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import logsigmoid
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from base.errors import InputError
from critic.chats.tokens import TokenTree
from tests import zoo
from trainers.methods.dpo import DPOConfig, DPOTrainer
from trainers.methods.reward import RewardConfig, RewardTrainer
from trainers.methods.sft import SFTConfig, SFTTrainer
from trainers.trainer import TreeTrainer

from .tiny import build, config_of, demonstrations, planted

LANGUAGE = (
    "bloom", "cohere2", "ctrl", "deepseek_v3", "doge", "falcon", "falcon_h1", "gemma2", "gemma3_text", "gpt2",
    "gpt_neo", "gpt_neox", "gpt_oss", "gptj", "granite", "granitemoehybrid", "lfm2", "llama", "llama4_text", "mamba",
    "mamba2", "minimax", "mistral", "mixtral", "modernbert-decoder", "opt", "phi", "phi3", "phimoe", "qwen3",
    "qwen3_moe", "qwen3_next", "recurrent_gemma", "rwkv",
)  # fmt: skip
"""Sinks, caps, windows, chunks, experts, states, latent attention, learnt and linear positions, tied and untied."""
REWARD = (
    "bloom", "ctrl", "deepseek_v3", "doge", "falcon", "gemma2", "gemma3_text", "gpt2", "gpt_neo", "gpt_neox", "gpt_oss",
    "gptj", "llama", "minimax", "mistral", "mixtral", "modernbert-decoder", "opt", "phi", "phi3", "qwen3", "qwen3_moe",
    "qwen3_next",
)  # fmt: skip
"""Those of which transformers has sequence classifiers."""
PATHS = {"gemma2": "packed", "gpt_oss": "packed", "llama": "packed", "mamba2": "padded", "qwen3_next": "padded"}
"""A sample of what the proof must find: models with a state are padded, and others packed."""
EXAMPLES = 4


def chats(tree: TokenTree) -> list[tuple[torch.Tensor, int]]:
    """Each answer with its prompt before it, and where the answer begins."""
    root, *branches = tree.segments
    return [(torch.tensor([[*root.ids, *branch.ids]]), len(root.ids)) for branch in branches]


@torch.no_grad()
def logprob(model: PreTrainedModel, ids: torch.Tensor, start: int) -> float:
    """The summed log-probability of a chat's answer, by transformers' model alone."""
    logits = model(input_ids=ids, use_cache=False).logits[0, start - 1 : -1].double().log_softmax(-1)
    return float(logits.gather(-1, ids[0, start:, None]).sum())


def one_step(kind: str, folder: Path, out: Path) -> TreeTrainer:
    trainer: TreeTrainer
    settings: dict[str, Any] = {"max_steps": 1, "per_device_train_batch_size": EXAMPLES}
    if kind == "sft":
        trainer = build(SFTTrainer, config_of(SFTConfig, folder, out, **settings), demonstrations(EXAMPLES))
    elif kind == "dpo":
        trainer = build(DPOTrainer, config_of(DPOConfig, folder, out, **settings), planted(EXAMPLES))
    else:
        trainer = build(RewardTrainer, config_of(RewardConfig, folder, out, **settings), planted(EXAMPLES))
    trainer.train()
    return trainer


def plain(folder: Path, auto: Any = AutoModelForCausalLM) -> PreTrainedModel:
    model: PreTrainedModel = auto.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", LANGUAGE)
def test_one_step_of_a_policy(name: str, tmp_path: Path) -> None:
    folder = zoo.tiny(name, tmp_path / "model")
    model = plain(folder)
    dpo = one_step("dpo", folder, tmp_path / "dpo")
    assert dpo.proof.path == PATHS.get(name, dpo.proof.path)
    assert bool(dpo.proof.why) is (dpo.proof.path != "packed")
    first = dpo.state.log_history[0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4)
    both = []
    for i in range(EXAMPLES):
        both.append([logprob(model, *chat) for chat in chats(dpo.examples[i].tree)])
    for logps, pair in zip(dpo.examples.references or (), both, strict=True):
        assert logps == pytest.approx(pair, abs=2e-2)
    assert first["grad_norm"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", PATHS)
def test_one_step_of_imitation(name: str, tmp_path: Path) -> None:
    """Its loss is the sum of what the test above holds for every architecture."""
    folder = zoo.tiny(name, tmp_path / "model")
    model = plain(folder)
    sft = one_step("sft", folder, tmp_path / "sft")
    assert sft.proof.path == PATHS[name]
    trees = [sft.examples[i].tree for i in range(EXAMPLES)]
    weights = [example.weight for example in sft.examples.examples]
    sums = [logprob(model, *chats(tree)[0]) for tree in trees]
    tokens = sum(w * len(tree.segments[1].ids) for w, tree in zip(weights, trees, strict=True))
    expected = -sum(w * value for w, value in zip(weights, sums, strict=True)) / tokens
    assert sft.state.log_history[0]["loss"] == pytest.approx(expected, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", REWARD)
def test_one_step_of_a_reward_model(name: str, tmp_path: Path) -> None:
    parent = zoo.tiny(name, tmp_path / "parent", auto=AutoModelForSequenceClassification, num_labels=1)
    trainer = one_step("reward", parent, tmp_path / "out")
    model = plain(parent, AutoModelForSequenceClassification)
    losses = []
    for i in range(EXAMPLES):
        both = chats(trainer.examples[i].tree)
        with torch.no_grad():
            chosen, rejected = (model(input_ids=ids, use_cache=False).logits[0, 0] for ids, _ in both)
        losses.append(float(-logsigmoid(chosen - rejected)))
    assert trainer.state.log_history[0]["loss"] == pytest.approx(sum(losses) / EXAMPLES, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("xlm-roberta", "gives different answers one reward"),
        ("mvp", "computing a plain chat failed"),
        ("reformer", "computing a plain chat failed"),
    ],
)
def test_classifiers_that_learn_nothing_and_models_that_fail_are_refused(
    name: str, problem: str, tmp_path: Path
) -> None:
    parent = zoo.tiny(name, tmp_path / "parent", auto=AutoModelForSequenceClassification, num_labels=1)
    with pytest.raises(InputError, match=problem):
        one_step("reward", parent, tmp_path / "out")

"""Opens what writes the rollouts: see `trainers.ppo_config.PPOConfig.rollout`."""

import asyncio

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from critic.engines.chat import Chat
from critic.engines.stops import end_ids
from trainers.ppo_config import PPOConfig
from trainers.rollout import HfWriter, Writer


def open_writer(
    config: PPOConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, runner: asyncio.Runner
) -> Writer:
    """Open a writer with a copy of ``model``, in the type that the run computes in."""
    chat = Chat(tokenizer, config.model)
    dtype = torch.bfloat16 if config.bf16 else torch.float32
    if config.rollout == "vllm":
        from trainers.rollout_vllm import VllmWriter

        return VllmWriter(model, dtype, tokenizer, config.max_length, runner)
    return HfWriter(model, dtype, chat, end_ids(chat, tokenizer, model), config.rollout_batch)

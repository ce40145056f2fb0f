"""Opens what writes the rollouts: see `trainers.online.config.OnlineConfig.rollout`."""

import asyncio
import logging

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from critic.chats.chat import Chat
from critic.chats.stops import end_ids
from critic.local.proving.proof import prove
from trainers.online.config import OnlineConfig
from trainers.online.writing.rollout import HfWriter, RolloutWriter

log = logging.getLogger(__name__)


def open_writer(
    config: OnlineConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, runner: asyncio.Runner
) -> RolloutWriter:
    """Open a writer with a copy of ``model``, in the type that the run computes in."""
    chat = Chat(tokenizer, config.model)
    dtype = torch.bfloat16 if config.bf16 else torch.float32
    if config.rollout == "vllm":
        from trainers.online.writing.rollout_vllm import VllmWriter  # loads vLLM, an extra

        return VllmWriter(model, dtype, tokenizer, config.max_length, runner)
    # What a policy would be said to have written otherwise than it does must not be learnt from.
    path = prove(model, chat, config.max_length, config.model).writing
    assert path is not None  # it is a language model
    if path.name != "packed":
        log.warning("Rollouts are written one by one, which takes more time: %s.", path.why)
    return HfWriter(model, dtype, chat, end_ids(chat, tokenizer, model), config.rollout_batch, path.name)

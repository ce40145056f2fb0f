"""Starts vLLM for the `vllm` engine: what it is asked for, and what CPUs need."""

import logging
import os
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from critic.chats.chat import Chat
from critic.chats.stops import template_end
from critic.local import processor
from critic.local.loading import default_dtype, quiet
from critic.vllm.settings import VllmSettings

# vLLM reads these when it is imported, here and in its processes. It reports to its makers unless it is told not to.
os.environ["VLLM_NO_USAGE_STATS"] = "1"
# A forked process would inherit this program's threads' locks.
os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

from vllm import AsyncEngineArgs  # type: ignore[import-not-found]
from vllm.platforms import current_platform  # type: ignore[import-not-found]
from vllm.usage.usage_lib import UsageContext  # type: ignore[import-not-found]
from vllm.v1.engine.async_llm import AsyncLLM  # type: ignore[import-not-found]

_KV_GIB_CPU = 4
_FEW_CORES = 4


def start(args: AsyncEngineArgs, *, is_shown: bool) -> AsyncLLM:
    """Load the model and return when its processes are ready. Raises what vLLM raises, and logs it if ``is_shown``."""
    # vLLM's defaults for a server: batches that keep latencies bearable.
    llm = AsyncLLM.from_engine_args(args, usage_context=UsageContext.OPENAI_API_SERVER)
    if not is_shown:
        logging.getLogger("vllm").setLevel(logging.CRITICAL)  # what goes wrong in this process is raised, too
    return llm


def arguments(folder: Path, chosen: VllmSettings) -> AsyncEngineArgs:
    """Return how vLLM is to run the model. Nothing of the model's own sampling parameters is taken over."""
    is_cpu = current_platform.is_cpu()
    # A GPU is not asked: that would open it in this process, beside vLLM's, which refuse a type that theirs lacks.
    dtype = chosen.dtype or (str(default_dtype(torch.device("cpu"))).removeprefix("torch.") if is_cpu else "bfloat16")
    kv_gib = chosen.kv_gib or (_KV_GIB_CPU if is_cpu else None)
    return AsyncEngineArgs(
        model=str(folder),
        load_format="safetensors",
        trust_remote_code=False,
        generation_config="vllm",
        dtype=dtype,
        hf_overrides={"head_dtype": "float32"},
        max_model_len=chosen.context,
        tensor_parallel_size=chosen.gpus or 1,
        kv_cache_memory_bytes=kv_gib << 30 if kv_gib else None,
        enable_prefix_caching=True,
        scheduling_policy="priority",
        disable_log_stats=True,
        use_tqdm_on_load=False,
        **(_cpu_arguments() if is_cpu else {}),
    )


def _cpu_arguments() -> dict[str, object]:
    """Return what vLLM on CPUs needs: a prompt with a seed that it computes in several pieces ends its process.

    Blocks are of the smallest size that its attention takes, since only whole blocks are shared.
    """
    if processor.cores() <= _FEW_CORES:  # it would keep one of them for what mostly waits
        os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
    return {"enforce_eager": True, "enable_chunked_prefill": False, "block_size": 32}


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return the model's tokenizer, as the `hf` engine has it."""
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def stop_ids(llm: AsyncLLM, tokenizer: PreTrainedTokenizerBase, chat: Chat) -> frozenset[int]:
    """Return all ids that end an answer: see `critic.chats.stops.end_ids`."""
    ids = llm.model_config.try_get_generation_config().get("eos_token_id")
    if ids is None:
        ids = tokenizer.eos_token_id
    named = frozenset([ids] if isinstance(ids, int) else ids or [])
    end = template_end(chat)
    return named if end is None else named | {end}

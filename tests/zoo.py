"""Tiny random models of every causal type that transformers has, for whatever must hold on all of them.

`tiny` builds one: two layers or so, random weights that are large enough for logits to vary, a tokenizer of bytes with
a chat template. The sizes are set by the names that configurations use; what a type needs beyond that is in `MORE`.
"""

import copy
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

TYPES: tuple[str, ...] = tuple(sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
CONTEXT = 2048
_PARAMETERS = 3_000_000
_WINDOW = 24
_TEMPLATE = (
    "{% for m in messages %}<|open|>{{ m.role }}\n{{ m.content }}<|shut|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|open|>assistant\n{% endif %}"
)
_CONTROL = ("<pad>", "<s>", "</s>", "<|open|>", "<|shut|>")

# By the names that configurations use, whatever the type.
SMALL: dict[str, Any] = {
    # widths
    "hidden_size": 32,
    "d_model": 32,
    "n_embd": 32,
    "dim": 32,
    "emb_dim": 32,
    "embedding_size": 32,
    "word_embed_proj_dim": 32,
    "intermediate_size": 48,
    "intermediate_size_mlp": 48,
    "ffn_dim": 48,
    "n_inner": 48,
    "d_ff": 48,
    "dim_ff": 48,
    "feed_forward_size": 48,
    "decoder_ffn_dim": 48,
    "encoder_ffn_dim": 48,
    "shared_intermediate_size": 48,
    "block_ff_dim": 48,
    # layers and heads
    "num_hidden_layers": 2,
    "n_layer": 2,
    "n_layers": 2,
    "num_layers": 2,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "num_attention_heads": 4,
    "num_attn_heads": 4,
    "num_heads": 4,
    "n_head": 4,
    "n_heads": 4,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_decoder_attention_heads": 4,
    "num_encoder_attention_heads": 4,
    "num_decoder_layers": 2,
    "num_encoder_layers": 1,
    "head_dim": 8,
    "attention_head_dim": 8,
    "global_head_dim": 8,
    "dim_head": 8,
    "d_head": 8,
    "d_kv": 8,
    # contexts
    "max_position_embeddings": CONTEXT,
    "n_positions": CONTEXT,
    "max_seq_len": CONTEXT,
    "max_source_positions": CONTEXT,
    "max_target_positions": CONTEXT,
    "context_length": CONTEXT,
    "seq_length": CONTEXT,
    "n_ctx": CONTEXT,
    "sliding_window": _WINDOW,
    "attention_window_size": _WINDOW,
    "attention_window": _WINDOW,
    "window_size": _WINDOW,
    "attention_chunk_size": _WINDOW,
    "chunk_size": 16,
    # experts
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_topk": 2,
    "moe_k": 2,
    "top_k_experts": 2,
    "num_experts_per_token": 2,
    "moe_intermediate_size": 16,
    "expert_ffn_hidden_size": 16,
    "shared_expert_intermediate_size": 16,
    "n_shared_experts": 1,
    "num_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    # latent attention
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "index_n_heads": 2,
    "index_head_dim": 8,
    "index_topk": 2 * CONTEXT,
    # states
    "state_size": 8,
    "mamba_d_state": 8,
    "mamba_expand": 2,
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_num_heads": 8,
    "mamba_head_dim": 8,
    "mamba_chunk_size": 16,
    "ssm_state_size": 8,
    "n_groups": 1,
    "mamba_n_groups": 1,
    "lru_width": 32,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "time_step_rank": 4,
    "attention_hidden_size": 32,
    # pictures
    "image_size": 28,
    "patch_size": 14,
    "depth": 2,
    "out_hidden_size": 32,
    "projection_dim": 32,
    # dropouts would only blur
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
}

# What a type needs beyond the names above; None takes an entry of `SMALL` away.
_LATENT: dict[str, Any] = {"num_key_value_heads": 4, "head_dim": 4, "num_experts_per_tok": 2}
_DECODER: dict[str, Any] = {"is_decoder": True}
_TEXT: dict[str, Any] = {"head_dim": 8}
MORE: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite"), _LATENT),
    **dict.fromkeys(("glm_moe_dsa", "longcat_flash", "minicpm3", "youtu"), _LATENT),
    **dict.fromkeys(("bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra"), _DECODER),
    **dict.fromkeys(("ernie", "megatron-bert", "reformer", "rembert", "roberta", "xlm-roberta"), _DECODER),
    **dict.fromkeys(("roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta-xl", "xmod"), _DECODER),
    "codegen": {"rotary_dim": 4},
    "cohere": {"logit_scale": 2.0},
    "cohere2": {"logit_scale": 2.0},
    "cohere2_moe": {"logit_scale": 2.0},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 16, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "falcon": {"head_dim": None},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8},
    "gemma2": {"query_pre_attn_scalar": 8},
    "gemma3_text": {"query_pre_attn_scalar": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 24},
    "gptj": {"rotary_dim": 4},
    "granite": {
        "embedding_multiplier": 3.0,
        "residual_multiplier": 0.5,
        "attention_multiplier": 0.1,
        "logits_scaling": 4.0,
    },
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    "prophetnet": {"num_hidden_layers": None},
    "reformer": {
        "is_decoder": True,
        "axial_pos_embds": False,
        "num_hidden_layers": None,
        "attn_layers": ["local", "local"],
    },
    "roc_bert": {
        "is_decoder": True,
        "pronunciation_vocab_size": 30,
        "shape_vocab_size": 30,
        "pronunciation_embed_dim": 8,
        "shape_embed_dim": 8,
    },
    "xlm": {"causal": True},
    "xlnet": {"max_position_embeddings": None, "d_head": None, "d_inner": 48},
    "xlstm": {"v_head_dim": None, "head_dim": None, "qk_dim_factor": 1.0},
    "xmod": {"is_decoder": True, "languages": ["en_XX"], "default_language": "en_XX"},
    "bamba": {"attn_layer_indices": [1]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": {
        "layer_types": ["linear_attention", "full_attention"],
        "mlp_layer_types": ["dense", "sparse"],
        "num_key_value_heads": 4,
        "linear_head_dim": 8,
        "linear_num_heads": 4,
        "qk_head_dim": 12,
        "head_dim": 4,
    },
    "zamba": {
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
        "num_key_value_heads": 4,
        "n_mamba_heads": 2,
        "mamba_dt_rank": 4,
    },
    "zamba2": {
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
        "num_key_value_heads": 4,
        "mamba_headdim": 8,
        "n_mamba_heads": 8,
        "adapter_rank": 4,
        "kv_channels": 8,
        "num_query_groups": 4,
        "hybrid_layer_ids": [1, 3],
    },
    **{
        name: {"layer_types": ["linear_attention", "full_attention"]}
        for name in ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text")
    },
    "qwen4_exp_text": {"layer_types": ["linear_attention", "full_attention"]},
    "cohere_compass_text": {
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 10000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "gemma3n_text": {
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 2,
        "intermediate_size": [48] * 4,
        "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0],
        "vocab_size_per_layer_input": 261,
        "hidden_size_per_layer_input": 8,
        "laurel_rank": 4,
    },
    "gemma4_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "head_dim": 8,
        "per_layer_config": {"1": {"head_dim": 16}},
        "vocab_size_per_layer_input": 261,
        "hidden_size_per_layer_input": 8,
    },
    "gemma4_unified_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "head_dim": 8,
        "per_layer_config": {"1": {"head_dim": 16}},
        "vocab_size_per_layer_input": 261,
        "hidden_size_per_layer_input": 8,
    },
    "inkling_text": {},
    "zaya": {"num_experts_per_tok": 1},
}


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token a byte, and five control tokens at the lowest ids."""
    return copy.deepcopy(_tokenizer())


@cache
def _tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {word: i for i, word in enumerate((*_CONTROL, *alphabet))}
    backend = Tokenizer(models.BPE(words, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(text, special=True) for text in _CONTROL])
    made = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="<|shut|>")
    made.chat_template = _TEMPLATE
    return made


def config(model_type: str, **more: Any) -> PreTrainedConfig:
    """Return a small configuration of ``model_type``; ``more`` overrides."""
    words = len(_tokenizer())
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": _tokenizer().eos_token_id}
    default = AutoConfig.for_model(model_type)
    chosen = _sizes(default) | {"vocab_size": words} | ids | _parts(default) | MORE.get(model_type, {}) | more
    return AutoConfig.for_model(model_type, **{name: value for name, value in chosen.items() if value is not None})


def _sizes(default: PreTrainedConfig) -> dict[str, Any]:
    return {name: value for name, value in SMALL.items() if _has(default, name)}


def _parts(default: PreTrainedConfig) -> dict[str, Any]:
    """Return the small configurations of a composite model's parts, for text, pictures and sounds."""
    parts: dict[str, Any] = {}
    for name in default.sub_configs:
        part = getattr(default, name, None)
        if not isinstance(part, PreTrainedConfig):
            continue
        known = part.model_type in TYPES
        parts[name] = config(part.model_type).to_dict() if known else _sizes(part) | MORE.get(part.model_type, {})
    return parts


def _has(default: PreTrainedConfig, name: str) -> bool:
    try:
        return hasattr(default, name)
    except Exception:  # sizes that differ from layer to layer can't be asked for as one
        return False


def build(model_type: str, std: float = 0.15, auto: Any = AutoModelForCausalLM, **more: Any) -> PreTrainedModel:
    """Return a random model of ``model_type`` in float32. Raises whatever transformers raises where it can't be."""
    small = config(model_type, **more)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.device("meta"):
            size = sum(weight.numel() for weight in auto.from_config(small).parameters())
        if size > _PARAMETERS:
            raise ValueError(f"{size} weights: {model_type} is not tiny yet")
        torch.manual_seed(3)
        model: PreTrainedModel = auto.from_config(small, dtype=torch.float32)
    randomise(model, std)
    model.eval()
    return model


def randomise(model: PreTrainedModel, std: float) -> None:
    """Draw all weights anew: large enough that attention and logits vary, as they don't after an initialisation."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            drawn = torch.randn(weight.shape, generator=generator)
            if weight.dim() >= 2:
                weight.copy_(drawn * std)
            elif "sink" in name or "bias" in name:
                weight.copy_(drawn * 0.5)
            elif not any(part in name.lower() for part in ("a_log", "dt", ".d")):
                weight.add_(drawn * 0.1)


def tiny(model_type: str, into: Path, **more: Any) -> Path:
    """Write a random model of ``model_type`` with its tokenizer into the folder ``into``, and return it.

    ``more``: ``auto``, the class that builds it (a causal language model), ``std``, and entries of its configuration.
    """
    model = build(model_type, **more)
    model.save_pretrained(into)
    _tokenizer().save_pretrained(into)
    return into

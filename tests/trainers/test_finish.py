"""What a run leaves: a folder in the parent's type that says what was trained, and stops where it was taught to."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel

from base.errors import InputError
from critic.chats.chat import Chat
from critic.chats.stops import end_ids, template_end
from critic.engine import Node, Request, Reward, Sampling
from critic.local import language_model as hf
from critic.local import loading
from critic.local import reward_model as rm
from critic.records import Message
from tests import zoo
from tests.critic.engines.conftest import make_tokenizer
from trainers import models, run
from trainers.folder import finish
from trainers.methods.dpo import DPOConfig
from trainers.methods.ppo import PPOConfig
from trainers.methods.reward import RewardConfig
from trainers.methods.sft import SFTConfig

from .online_tiny import ppo_config
from .small_runs import run_settings
from .tiny import config_of, demonstrations, write_model

KINDS = {"sft": SFTConfig, "dpo": DPOConfig, "reward": RewardConfig}
ENDLESS = "{% for m in messages %}<|open|>{{ m.role }}\n{{ m.content }}\n\n{% endfor %}"


def types(folder: Path) -> set[str]:
    """The types of all tensors in a folder's weights."""
    with safe_open(folder / "model.safetensors", "pt") as file:
        return {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118  # it is no dictionary


def typed(folder: Path, dtype: torch.dtype) -> Path:
    """The language model in ``folder``, saved in another type."""
    AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).save_pretrained(folder)
    return folder


def settings(kind: str, folder: Path, out: Path, **more: Any) -> Any:
    given = run_settings(kind, folder, out, out.parent) | {"max_steps": 1, "save_strategy": "no"}
    return KINDS[kind](**(given | {"eval_strategy": "no", "eval_share": 0.0} | more))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "dtype"), [*((kind, torch.bfloat16) for kind in KINDS), ("sft", torch.float16)])
def test_weights_are_saved_in_the_type_of_the_parent(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    parent = typed(write_model(tmp_path / "parent"), dtype)
    done = run.train(settings(kind, parent, tmp_path / "out"))
    assert types(done.folder) == types(parent) == {"BF16" if dtype == torch.bfloat16 else "F16"}
    name = str(dtype).removeprefix("torch.")
    assert json.loads((done.folder / "config.json").read_text())["dtype"] == name
    saved = json.loads((done.folder / "lineage.json").read_text())["saved"]
    assert saved["dtype"] == name and 0 < saved["rounding"] < 0.5


def test_learning_stays_in_float32(tmp_path: Path) -> None:
    """A step too small for bfloat16 is not lost while it is trained, and resumed from: only the folder is rounded."""
    parent = typed(write_model(tmp_path / "parent"), torch.bfloat16)
    run.train(settings("sft", parent, tmp_path / "out", save_strategy="steps", save_steps=1))
    assert types(tmp_path / "out" / "checkpoint-1") == {"F32"}
    assert types(tmp_path / "out") == {"BF16"}


def test_ppo_saves_in_the_type_of_the_parent(tmp_path: Path) -> None:
    parent = typed(write_model(tmp_path / "parent"), torch.bfloat16)
    config: PPOConfig = ppo_config(parent, tmp_path / "out", max_steps=1)
    done = run.train(config)
    assert types(done.folder) == {"BF16"}
    lineage = json.loads((done.folder / "lineage.json").read_text())
    assert lineage["saved"]["dtype"] == "bfloat16" and lineage["batches"]["path"] == "packed"


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_folder_that_says_something_else_than_the_model_is_no_finished_run(
    kind: str, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight that gets lost on the way to the file, as by a wrong name or a shared table."""
    genuine = loading.load

    def damaged(folder: str, *others: Any) -> Any:
        loaded = genuine(folder, *others)
        with torch.no_grad():
            next(p for p in loaded.model.parameters() if p.dim() == 2).mul_(1.5)
        return loaded

    monkeypatch.setattr(finish, "load", damaged)
    with pytest.raises(InputError, match="the saved model was loaded again: its logits differ by"):
        run.train(settings(kind, policy, tmp_path / "out"))
    assert not (tmp_path / "out" / "lineage.json").exists()


@pytest.mark.filterwarnings("ignore::UserWarning:peft")
@pytest.mark.parametrize("where", ["target_modules", "modules_to_save"])
@pytest.mark.parametrize("module", ["embed_tokens", "lm_head"])
def test_adapters_on_a_shared_embedding_are_refused(where: str, module: str, policy: Path, tmp_path: Path) -> None:
    lora: dict[str, Any] = {"r": 2, "target_modules": ["q_proj"]}
    lora = lora | {where: [module]} if where == "modules_to_save" else {"r": 2, "target_modules": ["q_proj", module]}
    with pytest.raises(InputError, match="input and output share that weight"):
        models.policy(config_of(SFTConfig, policy, tmp_path / "out", lora=lora))


@pytest.mark.filterwarnings("ignore::UserWarning:peft")
def test_adapters_on_embeddings_of_their_own_are_merged_and_read_again(tmp_path: Path) -> None:
    parent = write_model(tmp_path / "parent", tie_word_embeddings=False)
    lora = {"r": 2, "target_modules": ["q_proj", "embed_tokens", "lm_head"]}
    done = run.train(settings("sft", parent, tmp_path / "out", lora=lora, learning_rate=0.05))
    assert (done.folder / "adapter").is_dir() and types(done.folder) == {"F32"}


def test_a_merge_that_changes_the_model_is_told(policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = AutoModelForCausalLM.from_pretrained(policy)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.fill_(0.3)
    monkeypatch.setattr(PeftModel, "merge_and_unload", lambda self: self.unload(), raising=False)
    with pytest.raises(InputError, match="the adapters were merged: its logits differ by"):
        finish.merge(adapted, (20, 21, 22, 23), tmp_path)


def test_the_end_that_a_template_writes_stops_an_answer_beside_those_of_the_settings(policy: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(policy)
    chat = Chat(tokenizer, "tiny")
    model = AutoModelForCausalLM.from_pretrained(policy)
    shut = tokenizer.convert_tokens_to_ids("<|shut|>")
    assert template_end(chat) == shut
    for named, expected in ((7, {7, shut}), ([7, 9], {7, 9, shut}), (None, {tokenizer.eos_token_id, shut})):
        model.generation_config = GenerationConfig(eos_token_id=named)
        assert set(end_ids(chat, tokenizer, model)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sft", "dpo", "ppo"])
def test_a_base_model_stops_where_it_was_taught_to(kind: str, tmp_path: Path) -> None:
    """Its settings name another end, and never the template's: after training they name both."""
    parent = write_model(tmp_path / "parent")
    GenerationConfig(eos_token_id=20).save_pretrained(parent)
    if kind == "ppo":
        run.train(ppo_config(parent, tmp_path / "out", max_steps=1))
    else:
        more = {"max_steps": 60, "learning_rate": 1e-2} if kind == "sft" else {}
        run.train(settings(kind, parent, tmp_path / "out", **more))
    shut = make_tokenizer().convert_tokens_to_ids("<|shut|>")
    named = json.loads((tmp_path / "out" / "generation_config.json").read_text())["eos_token_id"]
    assert {20, shut} <= set(named)
    if kind == "sft":
        asked = demonstrations(1)[0].prompt.messages

        async def answer() -> str:
            engine = hf.open_engine(str(tmp_path / "out"), {"dtype": "float32"})
            try:
                return (await engine.complete(Request(asked, Sampling(120), seed=1))).finish
            finally:
                await engine.close()

        assert asyncio.run(answer()) == "stop"


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_a_template_without_an_end_is_refused(kind: str, tmp_path: Path) -> None:
    parent = write_model(tmp_path / "parent", template=ENDLESS)
    with pytest.raises(InputError, match="writes no control token after an answer"):
        run.train(settings(kind, parent, tmp_path / "out"))


@pytest.mark.parametrize("kind", list(KINDS))
def test_ids_past_the_embedding_are_refused(kind: str, policy: Path, tmp_path: Path) -> None:
    """A padding token that was added to the tokenizer alone: what is saved with it could not be loaded."""
    parent = write_model(tmp_path / "parent")
    tokenizer = AutoTokenizer.from_pretrained(parent)
    tokenizer.add_special_tokens({"pad_token": "<|fill|>"})
    tokenizer.save_pretrained(parent)
    with pytest.raises(InputError, match=r"the padding token, '<\|fill\|>', has the id \d+, and the .* has \d+ rows"):
        run.train(settings(kind, parent, tmp_path / "out"))


def test_settings_that_could_not_be_saved_are_refused_before_training(tmp_path: Path) -> None:
    parent = write_model(tmp_path / "parent")
    (parent / "generation_config.json").write_text(json.dumps({"do_sample": False, "temperature": 0.6}))
    with pytest.raises(InputError, match=r"generation_config\.json could not be saved again"):
        run.train(settings("sft", parent, tmp_path / "out"))


def test_ppo_refuses_a_template_without_an_end(tmp_path: Path) -> None:
    parent = write_model(tmp_path / "parent", template=ENDLESS)
    with pytest.raises(InputError, match="writes no control token after an answer"):
        run.train(ppo_config(parent, tmp_path / "out"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "gpt2", "opt", "gemma2", "qwen3", "phi"])
def test_what_train_reward_leaves_is_read_by_rm_and_ppo(name: str, tmp_path: Path) -> None:
    parent = zoo.tiny(name, tmp_path / "parent")
    reward = run.train(settings("reward", parent, tmp_path / "reward")).folder
    asked = [Message(role="user", content="Tell me of bread."), Message(role="assistant", content="It is baked.")]

    async def judged() -> float:
        engine = rm.open_engine(str(reward), {"dtype": "float32"})
        try:
            [score] = await engine.score(Node(tuple(asked), Reward()))
            return score.values[0]
        finally:
            await engine.close()

    model = models.reward_model(config_of(RewardConfig, reward, tmp_path / "x"), 1)
    ids = Chat(model.tokenizer, "tiny", model.tokenizer.pad_token_id).whole(asked, "closed").ids
    assert isinstance(model.model, PreTrainedModel)
    wanted = float(finish.logits(model.model, tuple(ids))[0, 0])
    assert asyncio.run(judged()) == pytest.approx(wanted, abs=1e-4)
    done = run.train(ppo_config(parent, tmp_path / "ppo", max_steps=1, reward=f"rm:{reward}?dtype=float32"))
    assert done.steps == 1

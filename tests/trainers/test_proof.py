"""The proof before the first step: what it finds, what may be asked of it, and what it says."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from base.errors import InputError
from critic.chats.tokens import Segment, TokenTree
from critic.local.trees import attention
from tests import zoo
from trainers import run
from trainers.batches import proof
from trainers.batches.packing import packed
from trainers.methods.dpo import DPOConfig, DPOTrainer
from trainers.methods.sft import SFTConfig, SFTTrainer

from .online_tiny import ppo_config, ppo_trainer
from .small_runs import one_step, run_settings, trainer_of
from .tiny import build, config_of, demonstrations, farthest, planted

TREES = [
    TokenTree((Segment(tuple(range(20, 40)), -1), Segment((50, 51, 52, 53), 0), Segment((60, 61, 62), 0)), ()),
    TokenTree((Segment(tuple(range(70, 75)), -1), Segment((80, 81), 0), Segment((90, 91, 92, 93), 0)), ()),
]


def found(model: PreTrainedModel, wanted: bool | None = None, longest: int = 30) -> proof.BatchProof:
    return proof.prove(model, TREES, longest, wanted, "tiny")


def test_a_model_whose_attention_is_all_that_mixes_tokens_is_packed() -> None:
    model = zoo.build("llama")
    kind = model.config._attn_implementation
    said = found(model)
    assert said.path == "packed" and not said.why
    assert said.values is not None and said.values < 1e-4 and said.gradient is not None and said.gradient < 1e-4
    assert model.config._attn_implementation == kind and not any(w.grad is not None for w in model.parameters())


def test_a_model_with_a_state_is_padded_and_the_reason_is_told() -> None:
    said = found(zoo.build("mamba2"))
    assert said.path == "padded" and "mamba2" in said.why and said.values is not None and said.values > proof.VALUES


def test_a_wrong_gradient_is_found_where_the_values_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention that gives the right numbers, and no gradient to its keys."""
    genuine = attention.TreePlan.attend

    def cut(self: Any, layer: int, query: Any, key: torch.Tensor, value: Any, rule: Any) -> torch.Tensor:
        return genuine(self, layer, query, key.detach(), value, rule)

    monkeypatch.setattr(attention.TreePlan, "attend", cut)
    said = found(zoo.build("llama"))
    assert said.path == "padded" and said.values is not None and said.values < 1e-4
    assert said.gradient is not None and said.gradient > proof.GRADIENT


def test_packing_that_was_asked_for_is_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match=r"prefix_packing=true.*mamba2.* differ, when packed"):
        found(zoo.build("mamba2"), wanted=True)


def test_padding_that_was_asked_for_is_done() -> None:
    said = found(zoo.build("llama"), wanted=False)
    assert said.path == "padded" and said.why == "as was asked"


def test_rows_that_change_each_other_are_computed_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model = zoo.build("llama")
    genuine = type(model).forward

    def leaking(self: Any, input_ids: torch.Tensor, **given: Any) -> Any:
        out = genuine(self, input_ids, **given)
        out.logits = out.logits * (1 + 0.1 * (len(input_ids) > 1))
        return out

    monkeypatch.setattr(type(model), "forward", leaking)
    assert found(model, wanted=False).path == "apart"


def test_long_rows_that_stretch_rotary_embeddings_are_computed_one_at_a_time() -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0, "original_max_position_embeddings": 64}
    model = zoo.build("llama", rope_parameters=rope)
    assert found(model, longest=60).path == "packed"
    assert found(model, longest=65).path == "apart"


def test_dropout_of_attention_is_not_left_out() -> None:
    """In training mode alone is it asked for, and the proof compares in evaluation mode."""
    model = zoo.build("gpt2", attn_pdrop=0.1)
    drawn = torch.get_rng_state()
    said = found(model)
    assert said.path == "padded" and "its attention draws dropout" in said.why
    assert torch.equal(torch.get_rng_state(), drawn), "the run draws what it would have drawn"
    others = zoo.build("gpt2", resid_pdrop=0.1, embd_pdrop=0.1, attn_pdrop=0.0)
    assert found(others).path == "packed"


def test_a_model_that_sees_its_targets_is_refused() -> None:
    with pytest.raises(InputError, match="see the tokens that they are to predict"):
        found(zoo.build("bert", is_decoder=False))


def test_the_proof_leaves_a_window_where_the_data_does() -> None:
    model = zoo.build("mistral", sliding_window=24)
    assert proof.reach(model.config) == 24
    assert proof.needed(model.config, 24) == 0
    [first, second] = proof.samples(TREES, proof.needed(model.config, 25))
    assert min(len(tree.segments[0].ids) for tree in (first, second)) > 24
    assert proof.prove(model, [first, second], 60, None, "tiny").path == "packed"


@pytest.mark.parametrize("name", ["llama", "qwen3_next", "lfm2"])
def test_reach_counts_only_layers_that_are_there(name: str) -> None:
    assert proof.reach(zoo.config(name)) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_padded_and_packed_learn_the_same(name: str, tmp_path: Path) -> None:
    folder = zoo.tiny(name, tmp_path / "model")
    for kind in ("sft", "dpo"):
        loss, _, learnt = one_step(kind, tmp_path / f"a-{kind}", folder, prefix_packing=True)
        other, _, padded = one_step(kind, tmp_path / f"b-{kind}", folder, prefix_packing=False)
        assert loss == pytest.approx(other, rel=1e-4) and farthest(learnt, padded) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sft", "dpo"])
@pytest.mark.parametrize("name", ["gemma2", "mamba2"])
def test_a_whole_run_of_a_model_that_is_padded(
    kind: str, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples, steps, evaluation, saving: and the folder says how batches were computed."""
    monkeypatch.setattr("trainers.offline.SHARE", 1e6)  # of a single step nothing is left for samples
    folder = zoo.tiny(name, tmp_path / "model")
    more: dict[str, Any] = {"prefix_packing": False} if name == "gemma2" else {}
    settings = run_settings(kind, folder, tmp_path / "out", tmp_path) | {"max_steps": 1, "eval_strategy": "no"}
    with caplog.at_level(logging.WARNING):
        done = run.train({"sft": SFTConfig, "dpo": DPOConfig}[kind](**(settings | more)))
    lineage = json.loads((done.folder / "lineage.json").read_text())
    assert lineage["batches"]["path"] == "padded"
    assert lineage["saved"]["dtype"] == "float32"
    assert "batches | padded: " in (done.folder / "README.md").read_text()
    assert any("Batches are padded" in row.message for row in caplog.records) is (name == "mamba2")
    assert (tmp_path / "out" / "samples.jsonl").is_file()


def test_dropout_is_off_unless_it_is_asked_for(tmp_path: Path) -> None:
    """GPT-2 has dropout by default. DPO starts at its reference, packed and padded: its loss is log 2."""
    folder = zoo.tiny("gpt2", tmp_path / "model", resid_pdrop=0.3, embd_pdrop=0.3, attn_pdrop=0.3)
    losses = {}

    def built(packing: bool, asked: bool) -> DPOTrainer:
        out = tmp_path / f"{packing}-{asked}"
        config = config_of(DPOConfig, folder, out, max_steps=1, prefix_packing=packing, dropout=asked)
        return build(DPOTrainer, config, planted(8))

    for packing, asked in ((True, False), (False, False), (False, True)):
        trainer = built(packing, asked)
        trainer.train()
        losses[packing, asked] = trainer.state.log_history[0]["loss"]
    with pytest.raises(InputError, match="its attention draws dropout"):
        built(True, True)
    assert losses[True, False] == pytest.approx(0.693147, abs=1e-5)
    assert losses[False, False] == pytest.approx(0.693147, abs=1e-5)
    assert abs(losses[False, True] - 0.693147) > 1e-3


def test_a_saved_model_still_names_the_dropout_of_its_parent(tmp_path: Path) -> None:
    folder = zoo.tiny("gpt2", tmp_path / "model", resid_pdrop=0.3)
    settings = run_settings("sft", folder, tmp_path / "out", tmp_path) | {"max_steps": 1, "save_strategy": "no"}
    done = run.train(SFTConfig(**settings))
    assert json.loads((done.folder / "config.json").read_text())["resid_pdrop"] == 0.3


def test_ppo_refuses_before_the_first_step_what_it_cannot_pack(tmp_path: Path) -> None:
    folder = zoo.tiny("mamba2", tmp_path / "model")
    with pytest.raises(
        InputError, match=r"each prompt is computed once for all of its answers here, and the policy can't"
    ):
        ppo_trainer(ppo_config(folder, tmp_path / "out"))


def test_a_context_is_not_a_window(tmp_path: Path) -> None:
    folder = zoo.tiny("mistral", tmp_path / "model", sliding_window=24)
    trainer = build(SFTTrainer, config_of(SFTConfig, folder, tmp_path / "out", max_length=256), demonstrations(4))
    assert trainer.proof.path == "packed"
    with pytest.raises(InputError, match=f"max_length is 4096; the model's context is {zoo.CONTEXT}"):
        build(SFTTrainer, config_of(SFTConfig, folder, tmp_path / "b", max_length=4096), demonstrations(4))


def test_a_batch_is_the_trees_in_one_row() -> None:
    assert len(packed(TREES).ids) == sum(len(segment.ids) for tree in TREES for segment in tree.segments)


def test_the_proof_of_a_trainer_is_of_its_own_data(policy: Path, tmp_path: Path) -> None:
    trainer = trainer_of("sft", tmp_path / "out", policy)
    known = {i for n in range(8) for segment in trainer.examples[n].tree.segments for i in segment.ids}
    assert {i for tree in trainer.short for segment in tree.segments for i in segment.ids} <= known

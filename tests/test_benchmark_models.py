"""What the benchmarks of models read, train and count: transcripts by hand, and small runs on a tiny model."""

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from base.errors import InputError
from benchmarks import data, reward_model, writing
from critic.local import embedded, processor
from tests.critic.engines.conftest import make_tokenizer

TALK = "\n\nHuman: Name a river.\n\nAssistant: The Po.\n\nHuman: Another?\n\nAssistant:"


def rows(folder: Path, *pairs: tuple[str, str]) -> Path:
    """An HH file of these transcripts, chosen and rejected."""
    (folder / "hh_rlhf").mkdir()
    lines = [json.dumps({"chosen": chosen, "rejected": rejected}) + "\n" for chosen, rejected in pairs]
    (folder / "hh_rlhf" / "harmless-dev.jsonl").write_text("".join(lines))
    return folder


def test_a_transcript_becomes_a_chat(tmp_path: Path) -> None:
    [label], left_out = data.harmless(rows(tmp_path, (TALK + " The Nile.\n", TALK + " No: I won't.")))
    assert [(m.role, m.content) for m in label.prompt.messages] == [
        ("user", "Name a river."),
        ("assistant", "The Po."),
        ("user", "Another?"),
    ]
    assert (label.id, label.better, label.worse, left_out) == ("harmless:1", "The Nile.", "No: I won't.", [])


def test_a_repeated_speaker_is_part_of_what_is_said() -> None:
    messages = data.transcript("\n\nHuman: a\n\nAssistant: b\n\nAssistant: c\n\nHuman: d\n\nHuman: e\n\nAssistant: f")
    assert [m.content for m in messages] == ["a", "b\n\nAssistant: c", "d\n\nHuman: e", "f"]


def test_rows_that_are_no_comparison_are_named(tmp_path: Path) -> None:
    pairs = [
        (TALK, TALK + " b"),
        (TALK + " a", TALK + " a\n"),
        (TALK + " a", TALK.replace("Po", "Rhine") + " b"),
        (TALK + " a\n\nHuman: x", TALK + " a\n\nHuman: y"),
        ("Assistant: a", "Assistant: b"),
        ("\n\nHuman:\n\nAssistant: a", "\n\nHuman:\n\nAssistant: b"),
        (TALK + " a", TALK + " b"),
    ]
    labels, left_out = data.harmless(rows(tmp_path, *pairs))
    assert [label.id for label in labels] == ["harmless:7"]
    assert [(row.id, row.reason) for row in left_out] == [
        ("harmless:1", "a last turn is empty"),
        ("harmless:2", "the last turns are equal"),
        ("harmless:3", "the two transcripts differ before the last turn"),
        ("harmless:4", "the transcripts do not end with the assistant's turn"),
        ("harmless:5", "the transcript does not begin with a human's turn"),
        ("harmless:6", "the last user message is empty"),
    ]


def test_llmbar_rows_say_which_output_is_better(tmp_path: Path) -> None:
    sets = {"One": [1, 2], "Two/Deep": [2, 3]}
    for name, marks in sets.items():
        (tmp_path / "llmbar_dev" / name).mkdir(parents=True)
        rows = [{"input": "Name a sea.", "output_1": "North", "output_2": "South", "label": mark} for mark in marks]
        (tmp_path / "llmbar_dev" / name / "dataset.json").write_text(json.dumps(rows))
    labels, left_out = data.llmbar(tmp_path)
    assert [(label.id, label.source, label.better, label.worse) for label in labels] == [
        ("One:1", "One", "North", "South"),
        ("One:2", "One", "South", "North"),
        ("Two/Deep:1", "Two/Deep", "South", "North"),
    ]
    assert [(row.id, row.reason) for row in left_out] == [("Two/Deep:2", "the label is 3, neither 1 nor 2")]


def test_the_real_sets(cai_data: Path) -> None:
    labels, left_out = data.harmless(cai_data)
    assert (len(labels), len(left_out), {row.reason for row in left_out}) == (1152, 4, {"a last turn is empty"})
    assert max(len(label.prompt.messages) for label in labels) > 1
    labels, left_out = data.llmbar(cai_data)
    assert (len(labels), len(left_out)) == (779, 2)


def test_a_missing_data_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "/no/such/folder"):
        monkeypatch.setenv("CAI_DATA", value)
        with pytest.raises(InputError, match="CAI_DATA: it names no folder"):
            data.data_folder()


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny language model in the embedded one's place."""
    torch.manual_seed(3)
    tokenizer = make_tokenizer()
    folder = tmp_path / "tiny"
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    monkeypatch.setattr(embedded, "fetch", lambda: folder)
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("fast", [True, False])
def test_a_reward_model_is_trained_saved_and_measured(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    """Every row is on one side of the split or named beside it, and the saved model judges those held out.

    On a CPU that multiplies bfloat16 fast as on one that does not: TRL's settings differ.
    """
    monkeypatch.setattr(processor, "multiplies_bfloat16", lambda: fast)
    question = "\n\nHuman: Name river {}.\n\nAssistant: {}"
    pairs = [(question.format(i, "Gladly: it is the Po."), question.format(i, "No.")) for i in range(40)]
    pairs += [(question.format(40, ""), question.format(40, "No.")), (question.format(99, "x" * 400), TALK + " a")]
    pairs += [(question.format(i, "x" * 400), question.format(i, "No.")) for i in range(50, 55)]
    monkeypatch.setenv("CAI_DATA", str(rows(tmp_path, *pairs)))
    monkeypatch.setattr(reward_model, "LEARNING_RATE", 1e-2)
    figures = {figure.name: figure for figure in reward_model.train_and_measure(tmp_path / "out")}
    split = json.loads((tmp_path / "out" / "split.json").read_text())
    expected = sorted(f"harmless:{i + 1}" for i in range(len(pairs)))
    assert sorted(id for part in split.values() for id in part) == expected
    assert all(split.values()) and set(split["left_out"]) == {"harmless:41", "harmless:42"}
    assert figures["agreement with people"].value == 1.0, "40 times the same two answers can be learnt"
    assert figures["agreement with people"].note.startswith(f"{len(split['held_out'])} held-out pairs")
    assert figures["pairs that could not be judged"].value == 0


def test_the_steps_that_each_side_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two places; answers of 5, 1, 4 and 2 tokens. Static: 5 + 4. Joining: 5 + 2 beside 1 + 4."""
    monkeypatch.setattr(writing, "BATCH", 2)
    assert writing.static_steps([5, 1, 4, 2]) == 9
    assert writing.joining_steps([5, 1, 4, 2]) == 7


def test_both_sides_write_every_token_that_was_asked_for(tiny: Path) -> None:
    """A side that stopped early would raise; 20 answers are more than one batch."""
    figures = writing.compare(tiny, 20, 2, 60, 1)
    assert all(figure.value > 0 and math.isfinite(figure.value) for figure in figures)

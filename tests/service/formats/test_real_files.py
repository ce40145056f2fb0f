"""Real, public files: the counts that reading them must give."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook

from critic.feedback import ComparisonLabel, Feedback
from critic.files.sources import Broken
from critic.messages import is_blank
from service.formats import format_of

Read = tuple[list[Feedback], Counter[str]]


def read(name: str, path: Path, **options: Any) -> Read:
    """The feedback, and how many rows were refused for which reason."""
    rows = list(format_of(name, options).read(path))
    refused = Counter(row.reason for row in rows if isinstance(row, Broken))
    return [label for label in rows if isinstance(label, Feedback)], refused


def kinds(labels: list[Feedback]) -> Counter[str]:
    return Counter(label.kind for label in labels)


@pytest.mark.parametrize(
    ("name", "file", "given", "refused"),
    [
        ("hh-rlhf", "hh_rlhf/harmless-dev.jsonl", {"comparison": 1152}, {"empty_answer": 4}),
        ("llama-factory", "import_formats/dpo_en_demo.json", {"comparison": 60}, {}),
        ("llama-factory", "import_formats/v1_dpo_demo.jsonl", {"comparison": 10}, {}),
        ("llama-factory", "import_formats/kto_en_demo.json", {"thumbs": 60}, {}),
        ("trl", "import_formats/hh_rlhf_tiny.json", {"comparison": 1}, {}),
    ],
)
def test_files(cai_data: Path, name: str, file: str, given: dict[str, int], refused: dict[str, int]) -> None:
    labels, why = read(name, cai_data / file)
    assert kinds(labels) == given
    assert why == refused


def test_nemo(cai_data: Path) -> None:
    path = cai_data / "import_formats/nemo-dummy-dpo.jsonl"
    labels, refused = read("nemo-rl", path)
    assert kinds(labels) == {"comparison": len(path.read_text().splitlines())}
    assert not refused
    assert {len(label.prompt.messages) for label in labels} == {1}
    assert not any("extra_id" in text for label in labels for text in (str(label.prompt), str(label.responses)))


def test_oasst(cai_data: Path) -> None:
    """Counted apart from this reader: 687 replies, 17 of them by a model; 212 messages have two ranked replies."""
    labels, refused = read("oasst", cai_data / "import_formats/oasst-en-100-tree.jsonl")
    assert kinds(labels) == {"ranking": 212, "thumbs": 1226, "demonstration": 670}
    assert not refused


@pytest.mark.parametrize(
    ("file", "count", "without_a_shared_prompt"),
    [
        ("synthetic_data_aligned_vqvtb.csv", 30, 0),
        ("synthetic_data_orthogonal_adcbg.csv", 30, 0),
        ("synthetic_data_mixed_vqvtb_adcbg.csv", 59, 1),
    ],
)
def test_icai_pairs(cai_data: Path, file: str, count: int, without_a_shared_prompt: int) -> None:
    labels, refused = read(
        "spreadsheet",
        cai_data / "icai_synthetic" / file,
        prompt=None,
        prompt_ends="\n\nOutput: ",
        responses=["text_a", "text_b"],
        choice="preferred_text",
    )
    assert len(labels) == count
    assert refused.total() == refused["no_shared_prompt"] == without_a_shared_prompt


def test_tulu(cai_data: Path) -> None:
    labels, refused = read(
        "spreadsheet",
        cai_data / "tulu/eval_annotations_tulu_1.xlsx",
        prompt="prompt",
        prompt_id="instance_id",
        responses=["completion_a", "completion_b"],
        models=["model_a", "model_b"],
        thumbs=["completion_a_is_acceptable", "completion_b_is_acceptable"],
        annotator="evaluator",
        choice="preference",
    )
    comparisons = [label for label in labels if isinstance(label.label, ComparisonLabel)]
    # 40 rows have the same text twice; in 6 an answer is empty, which 8 thumbs are about, too.
    assert (len(comparisons), refused) == (1104, {"bad_row": 40, "empty_answer": 14})
    assert len({(label.item, *_pair(label)) for label in comparisons}) == len(set(map(_pair, comparisons)))
    for label in comparisons:
        assert label.responses[0].model < label.responses[1].model
    assert Counter(map(_winner, comparisons)) == _winners(cai_data / "tulu/eval_annotations_tulu_1.xlsx")


def _pair(label: Feedback) -> tuple[object, ...]:
    return label.prompt.id, *(response.model for response in label.responses)


def _winner(comparison: Feedback) -> str:
    assert isinstance(comparison.label, ComparisonLabel)
    place = {"first": 0, "second": 1}.get(comparison.label.choice or "")
    return "tie" if place is None else comparison.responses[place].model


def _winners(path: Path) -> Counter[str]:
    """How often each model won, straight from the sheet."""
    with path.open("rb") as file:
        sheet = load_workbook(file, read_only=True, data_only=True).worksheets[0]
        header, *rows = sheet.iter_rows(values_only=True)
    won: Counter[str] = Counter()
    for cells in rows:
        row = dict(zip(map(str, header), cells, strict=True))
        texts = {str(row["completion_a"]), str(row["completion_b"])}
        if row["prompt"] is not None and len(texts) == 2 and not any(map(is_blank, texts)):
            side = str(row["preference"])[:2]
            won[{"a-": str(row["model_a"]), "b-": str(row["model_b"])}.get(side, "tie")] += 1
    return won

"""Kinship of judge and policy, by what names and weights tell."""

import pytest

from critic.engine import Identity
from critic.run.family import families, kinship


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Qwen/Qwen3-32B", {"qwen"}),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", {"deepseek", "qwen"}),
        ("meta-llama/Llama-3.1-8B-Instruct", {"llama"}),
        ("gpt-4o-mini", {"gpt"}),
        ("my-org/CodeLlama-7b", {"llama"}),
        ("SmolLM2-135M-Instruct", {"smollm"}),
        ("my-org/philosopher", set()),
        ("scripted:s.yaml", set()),
    ],
)
def test_families_are_read_off_names(name: str, expected: set[str]) -> None:
    assert families(name) == expected


def test_kinship_is_of_weights_first_then_of_names() -> None:
    judge = Identity("Qwen/Qwen3-32B", "1")
    assert kinship(judge, judge) == "same model"
    assert kinship(Identity("my/Qwen2.5-7B-tuned", "2"), judge) == "same family"
    assert kinship(Identity("my-org/policy", "2"), judge) == "unknown"

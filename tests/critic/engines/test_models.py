"""Every causal type of transformers: computed as the model computes it, on one path or another, or refused at once."""

import pytest

from tests import zoo

from . import sweep

# A type of each kind: plain attention, windows and sinks, caps, latent attention, its own decoder, layers that pass
# nothing on, a state, positions of its own.
SAMPLE = ("llama", "gpt_oss", "gemma2", "deepseek_v3", "llama4_text", "nemotron", "lfm2", "mamba", "roberta")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore")
def test_no_type_is_wrong_in_silence_and_the_table_says_which_path_each_takes() -> None:
    outcomes = {name: sweep.outcome(name) for name in zoo.TYPES}
    assert {name: outcome for name, outcome in outcomes.items() if not outcome.is_right} == {}
    assert len([name for name, outcome in outcomes.items() if outcome.scoring == "refused"]) <= 3
    assert sweep.TABLE.read_text(encoding="utf-8") == sweep.table(outcomes), "python -m tests.critic.engines.sweep"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAMPLE)
def test_a_type_is_computed_as_the_model_does(name: str) -> None:
    outcome = sweep.outcome(name)
    assert outcome.is_right
    assert outcome.row(name) in sweep.TABLE.read_text(encoding="utf-8").splitlines()

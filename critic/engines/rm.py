"""The `rm` engine: a reward model in this process, to judge with.

A folder with a sequence classifier: what TRL's RewardTrainer and this project's write, or an encoder such as DeBERTa or
ModernBERT with a score. Where the score is a linear layer on a decoder's last hidden state, a chat's reward is read at
the last token of the whole chat, end of turn included, in the same packed trees that a language model's
log-probabilities are read from: so two responses share their prompt. Any other goes through its own forward, chat by
chat. A classifier whose tokenizer has no chat template reads question and answer as a pair (`critic.local.pairs`).
"""

from critic.engine import Engine
from critic.engine_kinds.kind import EngineKind
from critic.engine_kinds.model_files import expect_here, expect_to_load
from critic.local.local_options import JUDGING


def _open(path_or_id: str, options: dict[str, str]) -> Engine:
    from critic.local.reward_model import open_engine  # loads torch

    return open_engine(path_or_id, options)


ENGINE = EngineKind(
    name="rm",
    open=_open,
    expect_here=expect_here,
    expect_there=expect_to_load,
    target="PATH_OR_ID",
    options=JUDGING,
    gives="rewards",
    mode="rm",
    proves=True,
    holds_weights=True,
)

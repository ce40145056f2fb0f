"""Options of models in this process, apart from the engines that load them: these take seconds to import."""

from critic.chats.template_options import TEMPLATE_OPTIONS
from critic.engine_kinds.options import SpecOption

LOADING = (
    SpecOption("device", "a GPU if there is one, else cpu", "where the model computes: cpu, cuda, cuda:1 ..."),
    SpecOption("dtype", "bfloat16 where the hardware multiplies it, else float32", "bfloat16 or float32"),
    SpecOption("row", "4096", "tokens that go through the model at once while it judges; GPUs gain from 16384"),
    SpecOption(
        "deterministic",
        "false",
        "true: every request is computed alone, and its result is the same to the last bit whatever else is asked",
    ),
)
"""Options of every model in this process."""
WRITING = (SpecOption("batch", "16", "how many answers are written at a time"), *LOADING, *TEMPLATE_OPTIONS)
"""Options of one that writes."""
JUDGING = (*LOADING, *TEMPLATE_OPTIONS)
"""Options of one that only judges."""

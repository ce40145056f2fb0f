"""The `rm` engine: a reward model in this process, to judge with.

A folder with a sequence classifier whose ``score`` layer is linear on the last hidden state: what TRL's RewardTrainer
and this project's write. A chat's reward is read at the last token of the whole chat, end of turn included, in the
same packed trees that a language model's log-probabilities are read from: so two responses share their prompt.
"""

from transformers import AutoModelForSequenceClassification
from transformers.modeling_layers import GenericForSequenceClassification

from constitution.errors import InputError
from critic.engines import attention
from critic.engines.base import Completion, EngineError, Lane, Request, Reward
from critic.engines.hf import HfEngine, settings
from critic.engines.loading import Loaded, load
from critic.engines.prefix_tree import output_head
from critic.engines.rewards import Manifest, capability, read_manifest
from critic.engines.template_options import NO_OPTIONS, TEMPLATE_KEYS, TemplateOptions

_OPTIONS = ("deterministic", "device", "dtype", *TEMPLATE_KEYS)


class RmEngine(HfEngine):
    """See the module's docstring. `score` gives one value a head, as ``capabilities`` names them; NaN may be one."""

    _reads = (Reward,)
    _refusal = "a reward model has no log-probabilities, it only gives rewards: judge with --mode rm"

    def __init__(
        self,
        loaded: Loaded,
        name: str,
        manifest: Manifest,
        deterministic: bool = False,
        template: TemplateOptions = NO_OPTIONS,
    ) -> None:
        super().__init__(loaded, name, deterministic=deterministic, template=template)
        self.capabilities = capability(manifest.heads)

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        """Raise `EngineError`: a reward model writes nothing."""
        raise EngineError(
            "a reward model writes no text, it only gives rewards: let a language model answer, and judge finished "
            "answers with --mode rm"
        )


def open_engine(path_or_id: str, options: dict[str, str]) -> RmEngine:
    """Load a reward model and start its worker.

    Options: ``dtype``, ``device``, ``deterministic`` and the template's, as in `critic.engines.hf.open_engine`.
    Raises `InputError` for
    an unknown option or value, for a model that can't be used, and where its ``reward.json`` does not fit it.
    """
    chosen = settings(options, _OPTIONS, path_or_id)
    loaded = load(path_or_id, chosen.dtype, chosen.device, attention.NAME, AutoModelForSequenceClassification)
    if not isinstance(loaded.model, GenericForSequenceClassification):
        raise InputError(
            f"models of type {loaded.model.config.model_type!r} have no linear score on the last token",
            where=path_or_id,
            fix="choose a reward model trained from a decoder such as Llama, Qwen or Mistral",
        )
    manifest = read_manifest(loaded.folder, output_head(loaded.model).out_features)
    return RmEngine(loaded, path_or_id, manifest, chosen.deterministic, chosen.template)

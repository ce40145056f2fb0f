"""A reward model in this process, as an engine (`critic.engines.rm` says what it takes)."""

from critic.chats.template_options import NO_OPTIONS, TemplateOptions
from critic.engine import Completion, EngineError, Lane, Request, Reward
from critic.local.language_model import ROW_TOKENS, HfEngine, opened_chat, settings, ways
from critic.local.loading import Loaded, load_classifier
from critic.local.local_options import JUDGING
from critic.local.openmp import on_thread_that_ends
from critic.local.pairs import SETTINGS, Pairs, reads_pairs
from critic.local.proving.proof import Proof, ProvenPath, prove_pairs, prove_rewards
from critic.local.rewards import Manifest, capability, read_manifest
from critic.local.trees import plain
from critic.local.worker import Ways


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
        row_tokens: int = ROW_TOKENS,
    ) -> None:
        self._manifest = manifest
        super().__init__(loaded, name, deterministic=deterministic, template=template, row_tokens=row_tokens)

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        """Raise `EngineError`: a reward model writes nothing."""
        raise EngineError(
            "a reward model writes no text, it only gives rewards: let a language model answer, and judge finished "
            "answers with --mode rm"
        )

    def _found_ways(self, loaded: Loaded, template: TemplateOptions, context: int, name: str) -> Ways:
        if reads_pairs(loaded.tokenizer):
            pairs = Pairs(loaded.tokenizer, name)
            prove_pairs(loaded.model, pairs.tree, name)
            proof = Proof(ProvenPath("plain", 0.0, "it reads question and answer as a pair"), None)
            return Ways(pairs, SETTINGS, pairs.tree, plain.score_pairs, plain.PlainWriter, proof)
        chat = opened_chat(loaded, template, name)
        return ways(chat, prove_rewards(loaded.model, chat, context, name))

    def _capabilities(self) -> dict[str, str]:
        return capability(self._manifest.heads)


def open_engine(path_or_id: str, options: dict[str, str]) -> RmEngine:
    """Load a reward model and start its worker.

    The options are those of `critic.local.local_options.JUDGING`. Raises
    `InputError` for an unknown option or value, for a model that can't be used, and where its ``reward.json`` does not
    fit it.
    """
    chosen = settings(options, JUDGING, path_or_id)

    def opened() -> RmEngine:
        loaded = load_classifier(path_or_id, chosen.dtype, chosen.device)
        manifest = read_manifest(loaded.folder, int(loaded.model.config.num_labels or 1))
        return RmEngine(loaded, path_or_id, manifest, chosen.deterministic, chosen.template, chosen.row)

    return on_thread_that_ends(opened)

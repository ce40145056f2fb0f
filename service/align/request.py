"""What a person asks of the chain, checked before anything is loaded."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from base.digest import digest
from base.errors import InputError
from constitution import load
from critic.engines import Spec, parse_spec, shapes
from critic.judging import mode_of
from critic.records import Line
from critic.run.config import RunSettings
from critic.settings.aligning import STAGES, AlignMethod

CHAIN = "align.json"


@dataclass(frozen=True, slots=True)
class ChainRequest:
    """``settings`` has those of each stage of `STAGES`, by its name. Raises `InputError` for what does not fit.

    ``held_out`` is the share of prompts that nothing is generated for or trained on, before the report. ``judges``,
    ``modes`` and ``policy`` are those of `critic.run.request.RunRequest`; the policy must be one whose weights are
    here. ``columns`` maps names of the file of prompts.
    """

    principles: str
    prompts: str
    judges: tuple[str, ...] = ("embedded",)
    modes: tuple[str, ...] = ()
    policy: str = "embedded"
    method: AlignMethod = "dpo"
    held_out: float = 0.25
    limit: int | None = None
    seed: int = 0
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    columns: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise InputError(
                f"{self.held_out} is no share", where="--held-out", fix="expected more than 0, less than 1"
            )
        if not self.policy_spec.is_trainable:
            raise InputError(
                f"the weights of {self.policy} are not here to be trained",
                where="--policy",
                fix=f"name a policy as one of {shapes(trainable=True)}",
            )
        unused = "reward" if self.method == "dpo" else None
        for stage in self.settings:
            if stage not in STAGES or stage == unused or stage in {"dpo", "ppo"} - {self.method}:
                raise InputError(f"there is no stage {stage!r} when the method is {self.method}", where="settings")
        for judge in self.judges:
            mode_of(self.modes[0] if len(self.modes) == 1 else None, parse_spec(judge))

    @property
    def policy_spec(self) -> Spec:
        """The policy's engine."""
        return parse_spec(self.policy)

    @property
    def model(self) -> str:
        """The policy as trainers name it."""
        return self.policy_spec.target or self.policy_spec.kind

    @property
    def rule(self) -> Spec | None:
        """The judge, where it is a program whose labels are certain, and the only one."""
        specs = [parse_spec(judge) for judge in self.judges]
        return specs[0] if len(specs) == 1 and specs[0].kind == "verify" else None

    def generate(self) -> RunSettings:
        """The settings of the run that makes the data. Judges that write nothing revise nothing."""
        writes = any(parse_spec(judge).writes for judge in self.judges)
        own = {"samples": 4, "revisions": int(writes), "seed": self.seed}
        return RunSettings.read(own | dict(self.settings.get("generate", {})))

    def identity(self, lines: Iterable[Line]) -> dict[str, Any]:
        """Return what the chain is: everything that its result depends on."""
        prompts = digest([line.item.prompt.key for line in lines])
        return {
            "constitution": load(self.principles).digest,
            "prompts": prompts,
            "policy": self.policy,
            "judges": list(self.judges),
            "modes": list(self.modes),
            "method": self.method,
            "held_out": self.held_out,
            "seed": self.seed,
            "settings": {stage: dict(values) for stage, values in sorted(self.settings.items())},
        }


def read_settings(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read ``STAGE.KEY=VALUE`` texts. Raises `InputError`."""
    by_stage: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        stage, dot, key = name.partition(".")
        if not equals or not dot or stage not in STAGES:
            raise InputError(
                f"{text!r} is no setting",
                where="command line",
                fix=f"expected STAGE.KEY=VALUE; stages: {', '.join(STAGES)}",
            )
        by_stage.setdefault(stage, {})[key] = yaml.safe_load(value)
    return by_stage

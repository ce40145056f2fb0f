"""What a person asks a run for, and whether its parts exist and fit together: all that is known without a model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from base.errors import InputError
from constitution import Constitution, load
from critic.engine import Engine
from critic.engines import Spec, check_spec, parse_spec
from critic.files.inputs import Unread, open_pairs, open_prompts
from critic.files.shapes import naming
from critic.judging import mode_of
from critic.judging.base import Mode
from critic.judging.jury import Juror, Jury
from critic.local.rewards import head_of
from critic.pipeline import Pipeline
from critic.records import Line, Quarantined
from critic.run.config import RunSettings
from critic.server.server_options import prices


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a person asks for. ``policy`` None means that the responses are given: `cai judge`.

    ``judges`` are engine specs, and several are a jury; ``modes`` are one for each, one for all, or none for the
    defaults of their engines. The first judge that can write critiques and revises. ``settings`` are those of
    `RunSettings`. ``columns`` maps names, as in ``prompt=question``: see `critic.files.naming.read_mapping`.
    """

    principles: str | Constitution
    source: str
    judges: tuple[str, ...]
    policy: str | None
    modes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None
    max_chars: int = 32_000
    truncate: bool = False
    columns: str | None = None

    @property
    def kind(self) -> Literal["generate", "judge"]:
        """The command's name."""
        return "judge" if self.policy is None else "generate"

    def unread(self) -> Iterator[Unread]:
        """The input, as far as ``limit``: a function a row that reads it."""
        opened = open_prompts if self.policy is not None else open_pairs
        columns = naming(self.columns)
        rows = opened(self.source, max_chars=self.max_chars, truncate=self.truncate, columns=columns)
        return islice(rows, self.limit)

    def lines(self) -> Iterator[Line | Quarantined]:
        """The input, as far as ``limit``."""
        return (read() for read in self.unread())


@dataclass(frozen=True, slots=True)
class Checked:
    """A request whose parts exist and fit together."""

    constitution: Constitution
    settings: RunSettings
    seats: tuple[tuple[Spec, Mode], ...]
    policy: Spec | None
    critic: Spec

    @property
    def specs(self) -> set[Spec]:
        """The engines that the run needs."""
        return {spec for spec, _ in self.seats} | {self.policy or self.critic}

    def pipeline(self, engines: Mapping[Spec, Engine]) -> Pipeline:
        """One prompt's way, with these engines."""
        settings = self.settings
        return Pipeline(
            constitution=self.constitution,
            policy=engines[self.policy or self.critic],
            critic=engines[self.critic],
            jury=Jury(tuple(Juror(engines[spec], mode) for spec, mode in self.seats)),
            policy_sampling=settings.policy_sampling(),
            judge_sampling=settings.judge_sampling(),
            seed=settings.seed,
            samples=settings.samples,
            revisions=settings.revisions,
            strategy=settings.strategy,
            judge_principles=settings.judge_principles,
            pooling=settings.pooling(),
            ranking=settings.ranking,
        )


def check(request: RunRequest) -> Checked:
    """Validate all that can be validated before a model is loaded."""
    principles = request.principles
    constitution = load(principles) if isinstance(principles, str) else principles
    policy = parse_spec(request.policy) if request.policy is not None else None
    seats = _seats(request)
    for spec in (*filter(None, (policy,)), *(judge for judge, _ in seats)):
        check_spec(spec)
    settings = RunSettings.read(request.settings)
    if policy is not None and not policy.writes:
        raise InputError(
            f"the policy {policy} gives {policy.gives} and answers nothing",
            where="--policy",
            fix="Name a language model: openai:MODEL@URL, hf:PATH_OR_ID, vllm:PATH_OR_ID or embedded",
        )
    writers = [spec for spec, _ in seats if spec.writes]
    if not writers and policy is not None and settings.revisions:
        raise InputError(
            "no judge can write critiques and revisions: reward models, rules and typed decisions only judge",
            where="--judge",
            fix="Name a judge that writes first, as in --judge embedded --judge rm:PATH, or pass --revisions 0",
        )
    return Checked(constitution, settings, seats, policy, (writers or [seats[0][0]])[0])


def check_priced(checked: Checked) -> None:
    """Refuse a limit of cost where none can be counted."""
    if not any(prices(dict(spec.options), str(spec)) for spec in checked.specs):
        raise InputError(
            "no engine has prices, so no cost can be counted",
            where="--max-cost",
            fix="Give them in its spec, for a million tokens: openai:MODEL@URL?input_price=2.50&output_price=10",
        )


def heads_needed(constitution: Constitution) -> tuple[str, ...]:
    """The heads that a reward model needs to judge under ``constitution``."""
    return tuple(dict.fromkeys(head_of(p.group.id if p.group else None) for p in constitution.principles))


def _seats(request: RunRequest) -> tuple[tuple[Spec, Mode], ...]:
    judges = [parse_spec(text) for text in request.judges]
    if len(request.modes) not in (0, 1, len(judges)):
        raise InputError(
            f"{len(request.modes)} modes for {len(judges)} judges",
            where="--mode",
            fix="Give one mode for each judge, in their order, or one for all, or none",
        )
    modes: list[str | None] = [*request.modes] if request.modes else [None]
    seats = tuple(
        (judge, mode_of(text, judge)) for judge, text in zip(judges, modes * (len(judges) // len(modes)), strict=True)
    )
    if len({(spec, mode.name) for spec, mode in seats}) < len(seats):
        raise InputError("a judge is named twice in one mode", where="--judge", fix="Each juror has one vote")
    return seats

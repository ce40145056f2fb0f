"""What a finished run holds: its exports and figures, from one pass over the rows."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from critic.engine import Identity
from critic.records import Judgement, PreferencePair, Provenance, Quarantined, Row
from critic.run.family import Kinship, families, kinship
from critic.run.folder.export import ExportCounts, export
from critic.run.reasons import Cause, Causes
from critic.run.retest import Retest
from critic.settings.run import Format
from critic.statistics.run import RunStatistics
from critic.statistics.warnings import warnings

DEMONSTRATION_JUDGE = "SmolLM2-135M-Instruct"  # the embedded model, which agrees with people about as often as chance


@dataclass(frozen=True, slots=True)
class Results:
    """What card, manifest and report are written from.

    ``quarantined`` counts rows by reason, ``calls`` what engines answered; ``samples`` are the first rows with a pair.
    ``engines`` says what each was found to be able to do, ``causes`` why most of the quarantined rows are there, and
    ``retest`` how far votes differ that were asked twice.
    """

    provenance: Provenance
    config: Mapping[str, Any]
    exported: ExportCounts
    statistics: RunStatistics
    quarantined: Counter[str]
    calls: int
    samples: tuple[Row, ...]
    engines: Mapping[str, Mapping[str, str]]
    causes: tuple[Cause, ...] = ()
    retest: Retest | None = None

    def kinship(self) -> dict[str, Kinship]:
        """Return for each judge how it is related to the policy; nothing where the responses were given."""
        policy = self.config.get("policy")
        if policy is None:
            return {}
        judges = [seat["judge"] for seat in self.config["jury"]]
        return {judge["name"]: kinship(_identity(policy), _identity(judge)) for judge in judges}

    def warnings(self) -> list[str]:
        """Return what a user of the data must know."""
        sentences = list(warnings(self.statistics, self.quarantined.total()))
        for judge, kin in self.kinship().items():
            if kin != "unknown":
                what = (
                    "the policy itself"
                    if kin == "same model"
                    else f"of the policy's family ({self.config['policy']['name']})"
                )
                sentences.append(f"The judge {judge} is {what}: models favour answers of their own kind.")
        sentences += [self._one_family(family) for family in self._families_everywhere()]
        if self.provenance.judge == DEMONSTRATION_JUDGE:
            sentences.append(
                f"The judge is {DEMONSTRATION_JUDGE}: it shows the machinery, its labels are not worth training on."
            )
        return sentences

    def _families_everywhere(self) -> list[str]:
        """Families of the policy that wrote the answers and of all judges: what is trained on this has met no other."""
        policy = self.config.get("policy")
        if policy is None:
            return []
        shared = families(policy["name"])
        for seat in self.config["jury"]:
            shared &= families(seat["judge"]["name"])
        return sorted(shared)

    @staticmethod
    def _one_family(family: str) -> str:
        return (
            f"The family {family} wrote these answers, and it alone judged them: a policy of it that learns from them "
            "learns what it thinks of its own answers."
        )


def gather(
    rows: Callable[[], Iterator[Row]],
    quarantined: Callable[[], Iterator[Quarantined]],
    provenance: Provenance,
    directory: Path,
    format: Format,
    *,
    config: Mapping[str, Any],
    calls: int,
    engines: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    samples: int = 6,
    reasoning: bool = False,
    retest: Retest | None = None,
) -> Results:
    """Export a run (see `critic.run.folder.export.export`), and count its figures on the way."""
    statistics, reasons, causes, kept = RunStatistics(), Counter[str](), Causes(), list[Row]()

    def counted_rows() -> Iterator[Row]:
        for row in rows():
            statistics.add(row)
            if row.pairs and len(kept) < samples:
                kept.append(row)
            yield row

    def counted_quarantine() -> Iterator[Quarantined]:
        for refused in quarantined():
            reasons[refused.reason] += 1
            causes.add(refused)
            yield refused

    exported = export(counted_rows, counted_quarantine, provenance, directory, format, reasoning)
    commonest = causes.commonest()
    return Results(provenance, config, exported, statistics, reasons, calls, tuple(kept), engines, commonest, retest)


def _identity(saved: Mapping[str, Any]) -> Identity:
    return Identity(saved["name"], saved["revision"])


def judgement_of(row: Row, pair: PreferencePair) -> Judgement | None:
    """Return the judgement that made a pair of ``row``, if one compared these two answers."""
    sides = {pair.chosen.text, pair.rejected.text}
    for judgement in row.judgements:
        compared = {row.candidates[judgement.first].text, row.candidates[judgement.second].text}
        if compared == sides and judgement.group == pair.group and judgement.outcome == "preference":
            return judgement
    return None


def replace_text(path: Path, text: str) -> None:
    """Write ``text`` beside ``path`` and put it in its place: a failure leaves the old file."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

"""NeMo RL's preferences: ``context`` and ``completions`` with ``rank`` (0 is the best); ``messages`` for SFT.

Read is also the older form with ``prompt``, ``chosen_response`` and ``rejected_response``, whose prompt has its turns
between ``<extra_id_...>`` marks. Lost: all but the texts and ranks, such as ``probability`` and ``group``. A ranking of
two responses comes back as a comparison.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from critic.feedback import ComparisonLabel, Feedback, RankingLabel, Source
from critic.feedback.base import Columns, answer, expect_list
from critic.feedback.from_file import GIVEN, origin
from critic.feedback.kinds.ranking import dense
from critic.files.inputs import RowError
from critic.files.row_messages import prompt_messages, side
from critic.files.shapes.base import whole
from critic.records import Prompt, Response
from service.formats.base import Found, Reading, ShapedFormat, Table, count_lost, read_rows
from service.formats.parts.columns import from_columns

_KEPT = ("prompt", "chosen", "rejected", "responses", "ranks", "completion")


class NemoRlFormat(ShapedFormat):
    """See the module's docstring."""

    name: ClassVar[str] = "nemo-rl"
    title: ClassVar[str] = "NeMo RL"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".json")
    reads: ClassVar[tuple[str, ...]] = ("comparison", "ranking", "demonstration")
    tables: ClassVar[Mapping[Table, tuple[str, ...]]] = MappingProxyType(
        {"pairs": ("context", "completions"), "rankings": ("context", "completions"), "sft": ("messages",)}
    )
    keeps_reasoning: ClassVar[bool] = True
    loses: ClassVar[str] = (
        "All but the texts and ranks, such as probability and group. A ranking of two comes back as a comparison."
    )

    def read(self, path: Path, source: Source = "human") -> Reading:
        """Yield a comparison, ranking or demonstration for each row."""
        return read_rows(path, source, _from_nemo, self.naming())

    def usage(self, table: Table, file: Path) -> str:
        """See the base class."""
        name = "openai_format" if table == "sft" else "PreferenceDataset"
        return f"data.train.dataset_name={name} data.train.data_path={file}"

    def records(self, table: Table, entry: Columns, lost: Counter[str]) -> Iterator[Columns]:
        """Yield the row in NeMo RL's words."""
        count_lost(entry, _KEPT, lost)
        match table:
            case "pairs":
                sides = [_completion(0, entry["chosen"]), _completion(1, entry["rejected"])]
                yield {"context": entry["prompt"], "completions": sides}
            case "rankings":
                ranked = zip(entry["responses"], entry["ranks"], strict=True)
                yield {
                    "context": entry["prompt"],
                    "completions": [_completion(rank - 1, answer(text)) for text, rank in ranked],
                }
            case _:
                yield {"messages": entry["prompt"] + entry["completion"]}


def _completion(rank: int, messages: list[Columns]) -> Columns:
    return {"rank": rank, "completion": messages}


def _from_nemo(columns: Columns, where: str, source: Source) -> Iterator[Found]:
    if columns.get("completions") is not None:
        yield _ranked(columns, where, source)
    else:
        yield from from_columns(columns, where, source)


def _ranked(columns: Columns, where: str, source: Source) -> Feedback:
    messages = prompt_messages({"prompt": columns.get("context")})
    ranked = [_ranked_text(completion) for completion in expect_list(columns, "completions")]
    ranks = dense([rank for rank, _ in ranked])
    label: ComparisonLabel | RankingLabel
    if len(ranked) == 2:
        first, second = ranks
        if first == second:
            choice = "tie"
        elif first < second:
            choice = "first"
        else:
            choice = "second"
        label = ComparisonLabel.model_validate({"choice": choice})
    else:
        label = RankingLabel(ranks=ranks)
    responses = tuple(Response(text=text, model=GIVEN) for _, text in ranked)
    return Feedback(
        kind=label.kind,
        prompt=Prompt(messages=messages or ()),
        responses=responses,
        label=label,
        **origin(columns, where, source),
    )


def _ranked_text(completion: Any) -> tuple[int, str]:
    rank = whole(completion.get("rank")) if isinstance(completion, dict) else None
    if rank is None:
        raise RowError("bad_responses", "a completion needs a rank (0 is the best) and a completion")
    before, text = side(completion.get("completion"))
    if before:
        raise RowError("bad_responses", "a completion of several turns; expected one assistant message")
    return rank, text

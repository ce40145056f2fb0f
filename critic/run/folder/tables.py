"""What a run exports: three tables, each with its schema and the records that a row of the run gives it.

``pairs`` is TRL's conversational preference format, ``sft`` its conversational prompt-completion format, ``feedback``
has one record for each critique, correction, comparison and ranking. No column is named ``margin``: TRL would subtract
it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from critic.records import Chain, Critique, Judgement, Prompt, Provenance, Ranking, Response, Row

Record = dict[str, Any]

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_THOUGHT_MESSAGES = pa.list_(
    pa.struct([("role", pa.string()), ("content", pa.string()), ("reasoning_content", pa.string())])
)
_CALL = pa.struct(
    [
        ("id", pa.string()),
        ("type", pa.string()),
        ("function", pa.struct([("name", pa.string()), ("arguments", pa.string())])),
    ]
)
_TOOL_MESSAGES = pa.list_(
    pa.struct(
        [
            ("role", pa.string()),
            ("content", pa.string()),
            ("tool_calls", pa.list_(_CALL)),
            ("tool_call_id", pa.string()),
            ("name", pa.string()),
        ]
    )
)
_PLACE = [("row", pa.int64()), ("where", pa.string()), ("prompt_id", pa.string()), ("tags", pa.list_(pa.string()))]
_PROVENANCE = [(name, pa.int64() if name == "seed" else pa.string()) for name in (*Provenance.model_fields, "source")]
_VOTE = pa.struct(
    [
        ("principle", pa.string()),
        ("principle_digest", pa.string()),
        ("judge", pa.string()),
        ("mode", pa.string()),
        ("order", pa.string()),
        ("log_odds", pa.float64()),
        ("raw", pa.string()),
        ("values", pa.list_(pa.float64())),
        ("prior", pa.float64()),
        ("reason", pa.string()),
        ("mass", pa.float64()),
        ("confidence", pa.float64()),
    ]
)

PAIRS = pa.schema(
    [
        ("prompt", _MESSAGES),
        ("chosen", _MESSAGES),
        ("rejected", _MESSAGES),
        ("probability", pa.float64()),
        ("weight", pa.float64()),
        ("group", pa.string()),
        ("chosen_model", pa.string()),
        ("rejected_model", pa.string()),
        *_PLACE,
        *_PROVENANCE,
    ]
)
SFT = pa.schema(
    [
        ("prompt", _MESSAGES),
        ("completion", _MESSAGES),
        ("chain", pa.int64()),
        ("round", pa.int64()),
        ("final", pa.bool_()),
        ("principle", pa.string()),
        ("principle_digest", pa.string()),
        ("model", pa.string()),
        *_PLACE,
        *_PROVENANCE,
    ]
)
FEEDBACK = pa.schema(
    [
        ("kind", pa.string()),
        ("prompt", _MESSAGES),
        ("responses", pa.list_(pa.string())),
        ("outcome", pa.string()),
        ("chain", pa.int64()),
        ("round", pa.int64()),
        ("principle", pa.string()),
        ("principle_digest", pa.string()),
        ("text", pa.string()),
        ("model", pa.string()),
        ("probability", pa.float64()),
        ("group", pa.string()),
        ("votes", pa.list_(_VOTE)),
        ("ranks", pa.list_(pa.int64())),
        ("strengths", pa.list_(pa.float64())),
        *_PLACE,
        *_PROVENANCE,
    ]
)
FEEDBACK_WITH_REASONING = FEEDBACK.insert(FEEDBACK.get_field_index("text") + 1, pa.field("reasoning", pa.string()))


def pair_records(row: Row, provenance: Provenance, reasoning: bool = False) -> Iterator[Record]:
    """Yield a record for each preference pair."""
    for pair in row.pairs:
        yield {
            "prompt": _messages(row.prompt),
            "chosen": _answer(pair.chosen, reasoning),
            "rejected": _answer(pair.rejected, reasoning),
            "probability": pair.probability,
            "weight": pair.weight,
            "group": pair.group,
            "chosen_model": pair.chosen.model,
            "rejected_model": pair.rejected.model,
            **_common(row, provenance),
        }


def sft_records(row: Row, provenance: Provenance, reasoning: bool = False) -> Iterator[Record]:
    """Yield a record for each revised response of each round; ``final`` marks the last one of its chain."""
    for number, chain in enumerate(row.chains):
        revised = [revision for revision in chain.revisions if revision.response is not None]
        for revision in revised:
            assert revision.response is not None
            yield {
                "prompt": _messages(row.prompt),
                "completion": _answer(revision.response, reasoning),
                "chain": number,
                "round": revision.critique.round,
                "final": revision is revised[-1],
                "principle": revision.critique.principle,
                "principle_digest": revision.critique.principle_digest,
                "model": revision.response.model,
                **_common(row, provenance),
            }


def feedback_records(row: Row, provenance: Provenance, reasoning: bool = False) -> Iterator[Record]:
    """Yield each critique (of ``responses[0]``), correction (``responses`` before, after), comparison and ranking."""
    empty: Record = dict.fromkeys(FEEDBACK_WITH_REASONING.names if reasoning else FEEDBACK.names)
    common = {"prompt": _messages(row.prompt), **_common(row, provenance)}
    for number, chain in enumerate(row.chains):
        for record in _chain_feedback(chain, reasoning):
            yield empty | common | {"chain": number} | record
    for judgement in row.judgements:
        yield empty | common | _comparison(row, judgement)
    for ranking in row.rankings:
        yield empty | common | _ranking(row, ranking)


def _chain_feedback(chain: Chain, reasoning: bool) -> Iterator[Record]:
    before = chain.original
    for revision in chain.revisions:
        critique = revision.critique
        about = {
            "round": critique.round,
            "principle": critique.principle,
            "principle_digest": critique.principle_digest,
        }
        yield about | {
            "kind": "critique",
            "responses": [before.text],
            "outcome": critique.outcome,
            "text": critique.text,
            "model": critique.model,
            **_thought(critique, reasoning),
        }
        if revision.response is not None:
            yield about | {
                "kind": "correction",
                "responses": [before.text, revision.response.text],
                "outcome": revision.outcome,
                "model": revision.response.model,
                **_thought(revision.response, reasoning),
            }
            before = revision.response


def _comparison(row: Row, judgement: Judgement) -> Record:
    """``probability`` is that ``responses[0]`` is better; the votes' log-odds are about it, too."""
    return {
        "kind": "comparison",
        "responses": [row.candidates[judgement.first].text, row.candidates[judgement.second].text],
        "outcome": judgement.outcome,
        "model": judgement.judge,
        "judge": judgement.judge,
        "mode": judgement.mode,
        "probability": judgement.probability,
        "group": judgement.group,
        "votes": [vote.model_dump(mode="json") for vote in judgement.votes],
    }


def _ranking(row: Row, ranking: Ranking) -> Record:
    """``ranks`` (1 is the best) and ``strengths`` are those of ``responses``."""
    return {
        "kind": "ranking",
        "responses": [candidate.text for candidate in row.candidates],
        "group": ranking.group,
        "ranks": list(ranking.ranks),
        "strengths": list(ranking.strengths),
    }


def _messages(prompt: Prompt) -> list[Record]:
    return [message.model_dump() for message in prompt.messages]


def _answer(response: Response, reasoning: bool) -> list[Record]:
    """The assistant's turn; its thoughts are under the name that templates and servers read."""
    message: Record = {"role": "assistant", "content": response.text}
    if reasoning and response.reasoning is not None:
        message["reasoning_content"] = response.reasoning
    return [message]


def _thought(by: Response | Critique, reasoning: bool) -> Record:
    return {"reasoning": by.reasoning} if reasoning else {}


def _common(row: Row, provenance: Provenance) -> Record:
    place = {"row": row.row, "where": row.where, "prompt_id": row.prompt.id, "tags": list(row.prompt.tags)}
    return place | provenance.model_dump() | {"source": "ai"}


@dataclass(frozen=True, slots=True)
class ExportTable:
    """One export: its columns, and the records that a row gives it."""

    schema: pa.Schema
    records: Callable[[Row, Provenance], Iterator[Record]]


def with_tool_turns(schema: pa.Schema) -> pa.Schema:
    """A schema whose prompts have room for tool calls and their results, whether a prompt is a chat or holds one."""
    at = schema.get_field_index("prompt")
    prompt = schema.field(at).type
    if pa.types.is_struct(prompt):
        fields = [f.with_type(_TOOL_MESSAGES) if f.name == "messages" else f for f in prompt.fields]
        return schema.set(at, pa.field("prompt", pa.struct(fields)))
    return schema.set(at, pa.field("prompt", _TOOL_MESSAGES))


def _thinking(schema: pa.Schema, *answers: str) -> pa.Schema:
    """A schema whose columns ``answers`` have room for reasoning."""
    for name in answers:
        schema = schema.set(schema.get_field_index(name), pa.field(name, _THOUGHT_MESSAGES))
    return schema


TABLES = {
    "pairs": ExportTable(PAIRS, pair_records),
    "sft": ExportTable(SFT, sft_records),
    "feedback": ExportTable(FEEDBACK, feedback_records),
}

# The same with what models thought before they answered, for those who ask for it.
WITH_REASONING = {
    "pairs": ExportTable(_thinking(PAIRS, "chosen", "rejected"), partial(pair_records, reasoning=True)),
    "sft": ExportTable(_thinking(SFT, "completion"), partial(sft_records, reasoning=True)),
    "feedback": ExportTable(FEEDBACK_WITH_REASONING, partial(feedback_records, reasoning=True)),
}


def tables(reasoning: bool) -> dict[str, ExportTable]:
    """The exports, with or without reasoning."""
    return WITH_REASONING if reasoning else TABLES

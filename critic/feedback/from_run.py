"""What a run says of its responses, as feedback: the same records as people's."""

from collections.abc import Iterator
from typing import Any

from base.digest import digest
from critic.feedback.feedback import Feedback
from critic.feedback.kinds.comparison import ComparisonLabel
from critic.feedback.kinds.correction import CorrectionLabel
from critic.feedback.kinds.critique import CritiqueLabel
from critic.feedback.kinds.ranking import RankingLabel, dense
from critic.records import Chain, Judgement, Provenance, Ranking, Response, Row

LONGEST_NAME = 200


def from_row(row: Row, provenance: Provenance) -> Iterator[Feedback]:
    """Yield every critique, revision (as a correction), judgement (as a comparison) and ranking of ``row``.

    Critiques and comparisons that could not be read come too, with that outcome. A revision is not called better than
    what it revises: a judgement of the two says so.
    """
    for chain in row.chains:
        yield from _chain(row, chain, provenance)
    for judgement in row.judgements:
        yield _comparison(row, judgement, provenance)
    for ranking in row.rankings:
        if (label := _ranking(row, ranking, provenance)) is not None:
            yield label


def _feedback(row: Row, provenance: Provenance, *, annotator: str, **fields: Any) -> Feedback:
    label = fields["label"]
    if len(annotator) > LONGEST_NAME:  # a large jury's, whose votes name each juror
        annotator = f"{annotator[: LONGEST_NAME - 20]} {digest(annotator)[:16]}"
    return Feedback(
        kind=label.kind,
        prompt=row.prompt,
        source="ai",
        annotator=annotator,
        constitution=provenance.constitution,
        constitution_hash=provenance.constitution_hash,
        where=row.where,
        **fields,
    )


def _chain(row: Row, chain: Chain, provenance: Provenance) -> Iterator[Feedback]:
    before = chain.original
    for revision in chain.revisions:
        said = revision.critique
        label = CritiqueLabel(text=said.text, outcome=said.outcome)
        about = {"responses": (before,), "principle": said.principle}
        yield _feedback(row, provenance, label=label, annotator=said.model, **about)
        if revision.response is not None:
            edited = CorrectionLabel(text=revision.response.text, better=False)
            yield _feedback(row, provenance, label=edited, annotator=revision.response.model, **about)
            before = revision.response


def _comparison(row: Row, judgement: Judgement, provenance: Provenance) -> Feedback:
    choice = None
    if judgement.probability is not None:
        if judgement.outcome == "tie":
            choice = "tie"
        elif judgement.probability > 0.5:
            choice = "first"
        else:
            choice = "second"
    label = ComparisonLabel.model_validate(
        {
            "choice": choice,
            "outcome": judgement.outcome,
            "probability": judgement.probability,
            "votes": judgement.votes,
        }
    )
    sides = (row.candidates[judgement.first], row.candidates[judgement.second])
    return _feedback(row, provenance, label=label, responses=sides, annotator=judgement.judge, group=judgement.group)


def _ranking(row: Row, ranking: Ranking, provenance: Provenance) -> Feedback | None:
    """Return the ranking of the candidates, of equal ones the first; None where only one is left."""
    kept: dict[str, tuple[Response, int, float]] = {}
    for ranked in zip(row.candidates, ranking.ranks, ranking.strengths, strict=True):
        kept.setdefault(ranked[0].text, ranked)
    if len(kept) < 2:
        return None
    responses, ranks, strengths = zip(*kept.values(), strict=True)
    label = RankingLabel(ranks=dense(ranks), strengths=strengths)
    return _feedback(
        row, provenance, label=label, responses=responses, annotator=_judge(row, ranking), group=ranking.group
    )


def _judge(row: Row, ranking: Ranking) -> str:
    """Return who judged the comparisons that the ranking is fitted to."""
    return next(judgement.judge for judgement in row.judgements if judgement.group == ranking.group)

"""What a run says becomes the same records as what people say."""

from critic.feedback import ComparisonLabel, CorrectionLabel, CritiqueLabel, Feedback, RankingLabel, from_row
from critic.records import Ranking
from tests.factories import both_orders, judgement, provenance, revision, row

ABOUT = provenance()


def _of(kind: str, labels: list[Feedback]) -> list[Feedback]:
    return [label for label in labels if label.kind == kind]


def test_judgements_are_comparisons_with_their_votes() -> None:
    votes = both_orders("short", 1.0, 0.5)
    made = row(judgements=[judgement(votes, 0.25, group="north"), judgement(votes, 0.5), judgement([], None)])
    preferred, tied, unread = from_row(made, ABOUT)
    assert isinstance(preferred.label, ComparisonLabel)
    assert (preferred.label.choice, preferred.label.probability, preferred.label.votes) == ("second", 0.25, votes)
    assert (preferred.source, preferred.annotator, preferred.group) == ("ai", "judge-1", "north")
    assert (preferred.constitution, preferred.constitution_hash) == ("harmlessness@1.0.0", "c" * 64)
    assert preferred.where == "prompts.jsonl:1"
    assert isinstance(tied.label, ComparisonLabel) and isinstance(unread.label, ComparisonLabel)
    assert (tied.label.choice, tied.label.probability) == ("tie", 0.5)
    assert (unread.label.choice, unread.label.outcome) == (None, "unreadable")


def test_pairs_are_those_of_the_run() -> None:
    made = row(judgements=[judgement([], 0.2), judgement([], 0.9), judgement([], 0.51)])
    pairs = [columns for label in from_row(made, ABOUT) for _, columns in label.rows()]
    expected = [(pair.chosen.text, pair.probability) for pair in made.pairs]
    assert [(pair["chosen"][0]["content"], pair["probability"]) for pair in pairs] == expected


def test_a_chain_is_critiques_of_what_each_found_and_corrections() -> None:
    rounds = [
        revision("short", "Nile."),
        revision("kind", "The Nile, dear.", round=1),
        revision("short", None, round=2),
    ]
    labels = list(from_row(row(revisions=[rounds]), ABOUT))
    critiques, corrections = _of("critique", labels), _of("correction", labels)
    assert [label.responses[0].text for label in critiques] == ["The Nile, of course.", "Nile.", "The Nile, dear."]
    assert [label.principle for label in critiques] == ["short", "kind", "short"]
    last = critiques[-1].label
    assert isinstance(last, CritiqueLabel) and last.outcome == "nothing_to_revise"
    edited = [label.label for label in corrections]
    assert [label.text for label in edited if isinstance(label, CorrectionLabel)] == ["Nile.", "The Nile, dear."]
    assert [table for label in corrections for table, _ in label.rows()] == ["sft", "sft"]


def test_a_ranking_counts_candidates_of_equal_text_once() -> None:
    made = row(candidates=("A.", "B.", "A."), judgements=[judgement([], 0.1)])
    made = made.model_copy(update={"rankings": (Ranking(ranks=(2, 1, 2), strengths=(-1.0, 1.0, -1.0)),)})
    (label,) = _of("ranking", list(from_row(made, ABOUT)))
    assert isinstance(label.label, RankingLabel)
    assert [response.text for response in label.responses] == ["A.", "B."]
    assert (label.label.ranks, label.label.strengths, label.annotator) == ((2, 1), (-1.0, 1.0), "judge-1")


def test_a_ranking_of_one_text_is_none() -> None:
    made = row(candidates=("A.", "A."), judgements=[])
    made = made.model_copy(update={"rankings": (Ranking(ranks=(1, 1), strengths=(0.0, 0.0)),)})
    assert list(from_row(made, ABOUT)) == []

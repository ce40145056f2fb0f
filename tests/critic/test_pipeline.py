"""One prompt through the pipeline, stage by stage, on scripted engines."""

from collections.abc import Sequence
from typing import Any

import pytest

from base.together import together
from constitution import Constitution, Principle
from constitution.schema import Group
from critic.engine import EngineError, Sampling
from critic.engines.scripted import Failure, Script, ScriptedEngine, ScriptedRule
from critic.judging.jury import Juror, Jury
from critic.judging.modes import MODES
from critic.pipeline import Pipeline
from critic.records import Item, Line, Row
from critic.settings.judging import Pooling
from tests.factories import prompt, response


def principle(id: str, **more: Any) -> Principle:
    texts = {key: f"{id} {key}" for key in ("title", "statement", "critique", "revision", "compare", "opposite")}
    return Principle.model_validate({"id": id, **texts, **more})


def constitution(*principles: Principle) -> Constitution:
    return Constitution(
        name="t", version="1.0.0", title="T", summary="s", license="l", language="en", principles=principles
    )


SAMPLING = Sampling(max_tokens=8)
TWO = constitution(principle("kind"), principle("short"))


def pipeline(script: Script, of: Constitution = TWO, policy: Script | None = None, **settings: Any) -> Pipeline:
    engine = ScriptedEngine(script)
    return Pipeline(
        constitution=of,
        policy=ScriptedEngine(policy) if policy else engine,
        critic=engine,
        jury=Jury((Juror(engine, MODES[settings.pop("mode", "logprob")]()),)),
        policy_sampling=Sampling(max_tokens=8),
        judge_sampling=Sampling(max_tokens=8),
        **settings,
    )


def line(text: str = "Why?", responses: Sequence[str] = (), tags: Sequence[str] = ()) -> Line:
    given = tuple(response(text, "given") for text in responses)
    return Line(row=3, where="file:4", item=Item(prompt=prompt(text, tags=tags), responses=given))


def reasons(row: Row) -> list[tuple[str, str]]:
    return [(drop.what, drop.reason) for drop in row.drops]


async def test_two_samples_become_one_pair_with_its_votes() -> None:
    row = await pipeline(Script()).run(line())
    assert (row.row, row.where) == (3, "file:4")
    assert len(row.chains) == len(row.candidates) == 2
    [judged], [pair] = row.judgements, row.pairs
    assert [(v.principle, v.order) for v in judged.votes] == [
        ("kind", "given"),
        ("kind", "swapped"),
        ("short", "given"),
        ("short", "swapped"),
    ]
    assert judged.probability is not None
    better = row.candidates[0 if judged.probability > 0.5 else 1]
    assert pair.chosen == better and pair.probability == max(judged.probability, 1 - judged.probability)


async def test_a_row_depends_on_its_prompt_and_the_seed_alone() -> None:
    first = await pipeline(Script(), seed=1).run(line())
    await pipeline(Script(), seed=1).run(line("Another?"))
    assert await pipeline(Script(), seed=1).run(line()) == first
    assert await pipeline(Script(), seed=2).run(line()) != first


async def test_revisions_go_on_from_each_other_and_each_round_draws_a_principle() -> None:
    row = await pipeline(Script(), revisions=6, samples=2).run(line())
    for chain in row.chains:
        assert [r.critique.round for r in chain.revisions] == list(range(6))
        revised = [r.response for r in chain.revisions]
        assert len({r.text for r in revised if r}) == 6 and chain.final == revised[-1]
    assert {r.critique.principle for c in row.chains for r in c.revisions} == {"kind", "short"}


async def test_nothing_to_revise_empty_and_unchanged_are_outcomes_not_revisions() -> None:
    answers = {
        "nothing_to_revise": Script(queue=("Nothing to revise.",)),
        "unreadable": Script(queue=("It is rude.", "")),
        "unchanged": Script(queue=("It is rude.", "same")),
        "revised": Script(queue=("It is rude.", "better")),
    }
    for outcome, script in answers.items():
        policy = Script(replies=(ScriptedRule(reply="same"),))
        run = pipeline(script, policy=policy, samples=1, revisions=1, strategy="revision")
        row = await run.run(line())
        assert [r.outcome for r in row.chains[0].revisions] == [outcome]
        assert (("revision", outcome) in reasons(row)) == (outcome != "revised")
        assert len(row.candidates) == (2 if outcome == "revised" else 0)


async def test_revision_strategy_pairs_an_answer_with_its_last_revision() -> None:
    row = await pipeline(Script(), strategy="revision", revisions=2).run(line())
    assert row.candidates == tuple(r for chain in row.chains for r in (chain.final, chain.original))
    assert [(j.first, j.second) for j in row.judgements] == [(0, 1), (2, 3)]


async def test_equal_and_empty_answers_are_dropped_by_name() -> None:
    same = await pipeline(Script(replies=(ScriptedRule(reply="same"),)), revisions=0).run(line())
    assert not same.judgements and not same.pairs and reasons(same) == [("pair", "equal_sides")]
    policy = Script(queue=("", "  "), replies=(ScriptedRule(reply="good"),))
    empty = await pipeline(Script(), policy=policy, revisions=0, samples=2).run(line())
    assert reasons(empty) == [("response", "empty_response")] * 2 and not empty.pairs


async def test_an_always_first_judge_makes_a_tie_and_no_pair() -> None:
    row = await pipeline(Script(choose="first"), revisions=0).run(line())
    assert [(j.outcome, j.probability) for j in row.judgements] == [("tie", 0.5)]
    assert not row.pairs and reasons(row) == [("pair", "tie")]


async def test_unreadable_votes_make_no_pair_and_no_tie() -> None:
    script = Script(fail=Failure(every=1, how="nan"))
    row = await pipeline(script, policy=Script(), revisions=0).run(line())
    assert [j.outcome for j in row.judgements] == ["unreadable"] and reasons(row) == [("pair", "unreadable")]
    assert all(vote.raw for vote in row.votes())


async def test_principles_apply_by_tag() -> None:
    of = constitution(principle("always"), principle("code", applies_to=["coding"]))
    asked = []
    for t in ((), ("coding",)):
        asked.append({v.principle for v in (await pipeline(Script(), of).run(line(tags=t))).votes()})
    assert asked == [{"always"}, {"always", "code"}]
    only = constitution(principle("code", applies_to=["coding"]))
    row = await pipeline(Script(), only).run(line())
    assert [j.outcome for j in row.judgements] == ["no_principle"] and reasons(row) == [("pair", "no_principle")]
    assert row.chains[0].revisions == ()


async def test_groups_judge_apart() -> None:
    of = constitution(
        principle("all"), principle("a", group=Group(id="north")), principle("b", group=Group(id="south"))
    )
    row = await pipeline(Script(), of, revisions=0).run(line())
    by_group = []
    for judgement in row.judgements:
        by_group.append((judgement.group, {vote.principle for vote in judgement.votes}))
    assert by_group == [(None, {"all"}), ("north", {"a"}), ("south", {"b"})]
    assert {pair.group for pair in row.pairs} <= {None, "north", "south"}


async def test_k_principles_are_drawn_for_each_comparison() -> None:
    of = constitution(*(principle(f"p{i}") for i in range(8)))
    row = await pipeline(Script(), of, judge_principles=2, samples=4, revisions=0).run(line())
    drawn = []
    for j in row.judgements:
        drawn.append(frozenset(v.principle for v in j.votes))
    assert all(len(ids) == 2 for ids in drawn) and len(set(drawn)) > 1


async def test_given_responses_are_judged_as_they_are_all_pairs() -> None:
    run = pipeline(Script())
    row = await run.run(line(responses=["a", "b", "b", "c"]))
    assert [r.text for r in row.candidates] == ["a", "b", "b", "c"] and not row.chains
    assert [(j.first, j.second) for j in row.judgements] == [(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)]
    assert ("pair", "equal_sides") in reasons(row)
    assert run.policy.usage.calls == 5 * 4 and not any(c.model == "scripted" for c in row.candidates)


async def test_best_of_n_pairs_the_best_with_the_worst() -> None:
    script = Script(choose="longest", likelihood="long")
    policy = Script(queue=("12", "1234", "1", "123"))
    row = await pipeline(script, policy=policy, mode="contrast", strategy="best-of-n", samples=4, revisions=0).run(
        line()
    )
    assert len(row.judgements) == 6 and len(row.pairs) <= 1


async def test_a_ranking_of_all_samples_makes_their_pairs() -> None:
    row = await pipeline(Script(), ranking=True, samples=4, revisions=0, pooling=Pooling(tie_band=0.0)).run(line())
    [ranking] = row.rankings
    assert len(row.judgements) == 6 and sorted(ranking.ranks) == [1, 2, 3, 4]
    for pair in row.pairs:
        better, worse = row.candidates.index(pair.chosen), row.candidates.index(pair.rejected)
        assert ranking.ranks[better] < ranking.ranks[worse]
        assert pair.probability == ranking.probability(better, worse)
    assert len(row.pairs) == 6 and not (await pipeline(Script(), samples=4, revisions=0).run(line())).rankings


async def test_a_failed_call_fails_the_row_after_its_neighbours_have_finished() -> None:
    done = []

    async def good(n: int) -> int:
        done.append(n)
        return n

    async def bad() -> int:
        raise EngineError("no answer")

    with pytest.raises(EngineError, match="no answer"):
        await together([bad(), good(1), good(2)])
    assert done == [1, 2]
    assert await together([good(3), good(4)]) == [3, 4]

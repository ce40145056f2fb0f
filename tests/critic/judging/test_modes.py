"""The judge modes, on engines whose log-probabilities are known."""

import math

import pytest

from constitution import Principle
from critic.engines.base import Choices, Engine, Lane, Node, Score, reads
from critic.engines.scripted import Script, ScriptedEngine
from critic.judging import MODES, contrast
from critic.judging.aggregate import aggregate
from critic.judging.base import Question
from critic.records import Vote
from tests.factories import FakeEngine, prompt

KIND = Principle(
    id="kind", title="K", statement="Be kind.", critique="c", revision="r", compare="Kinder?", opposite="Be rude."
)
SHORT = Principle(id="short", title="S", statement="Be short.", critique="c", revision="r", compare="Shorter?")


class Known(FakeEngine):
    """Reads a table: the path's text -> log-probabilities."""

    def __init__(self, logprobs: dict[str, tuple[float, ...]]) -> None:
        super().__init__("known")
        self.logprobs = logprobs

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        return tuple(Score(self._find("".join(m.content for m in path)), 10) for path, _, _ in reads(tree))

    def _find(self, path: str) -> tuple[float, ...]:
        [found] = [values for key, values in self.logprobs.items() if all(part in path for part in key.split("&"))]
        return found


def question(*principles: Principle, first: str = "FIRST", second: str = "SECOND") -> Question:
    return Question(prompt("PROMPT"), first, second, principles, seed=0)


async def votes(mode: str, engine: Engine, asked: Question) -> list[Vote]:
    return list(await MODES[mode].votes(engine, asked))


async def test_logprob_undoes_the_order() -> None:
    # Given order shows FIRST as A; swapped shows SECOND as A. The judge likes FIRST by 2 where it is A, by 1 where B.
    given, swapped = "A&FIRST\n[response B", "A&SECOND\n[response B"
    engine = Known({given: (-0.5, -2.5), swapped: (-1.5, -0.5)})
    got = await votes("logprob", engine, question(KIND))
    assert [(v.order, v.log_odds) for v in got] == [("given", 2.0), ("swapped", 1.0)]
    assert {v.principle_digest for v in got} == {KIND.digest} and {v.judge for v in got} == {"known"}


async def test_logprob_reads_both_letters_once_a_principle_and_order() -> None:
    from critic.judging import logprob

    tree = logprob.tree(question(KIND, SHORT))
    asked = list(reads(tree))
    assert len(asked) == 4 and {read for _, read, _ in asked} == {Choices(("A", "B"))}
    assert [sum(m.content.count("FIRST") for m in path) for path, _, _ in asked] == [1] * 4


async def test_an_always_first_judge_says_one_half() -> None:
    engine = ScriptedEngine(Script(choose="first"))
    got = await votes("logprob", engine, question(KIND, SHORT))
    verdict = aggregate(got, [KIND, SHORT], tie_band=0.02)
    assert (verdict.outcome, verdict.probability) == ("tie", 0.5)


async def test_a_nan_is_unreadable_and_keeps_what_came_back() -> None:
    engine = Known({"PROMPT": (math.nan, -1.0)})
    for vote in await votes("logprob", engine, question(KIND)):
        assert vote.log_odds is None and vote.raw is not None and "nan" in vote.raw


async def test_contrast_is_the_difference_of_mean_likelihoods() -> None:
    # Ten tokens each. FIRST: -1.0 under, -1.4 against; SECOND: -2.0 under, -2.1 against. (0.4 - 0.1) * SCALE.
    engine = Known(
        {
            "Be kind&FIRST": (-10.0,),
            "Be kind&SECOND": (-20.0,),
            "Be rude&FIRST": (-14.0,),
            "Be rude&SECOND": (-21.0,),
        }
    )
    [vote] = await votes("contrast", engine, question(KIND))
    assert vote.order is None
    assert vote.log_odds == pytest.approx(0.3 * contrast.SCALE)


async def test_contrast_without_an_opposite_compares_with_no_principle() -> None:
    class Plain(Known):
        def _find(self, path: str) -> tuple[float, ...]:
            under = 3.0 if "Be short" in path else 0.0
            return (-20.0 + under * (2 if path.endswith("FIRST") else 1),)

    [vote] = await votes("contrast", Plain({}), question(SHORT))
    assert vote.log_odds == pytest.approx(0.3 * contrast.SCALE)
    assert len(list(reads(contrast.tree(question(SHORT))))) == 4
    assert len(list(reads(contrast.tree(question(SHORT, KIND))))) == 8


@pytest.mark.parametrize("mode", sorted(MODES))
async def test_exchanging_the_responses_mirrors_every_vote(mode: str) -> None:
    engine = ScriptedEngine(Script())
    one = await votes(mode, engine, question(KIND, SHORT, first="x", second="y"))
    other = await votes(mode, engine, question(KIND, SHORT, first="y", second="x"))
    mirror = {"given": "swapped", "swapped": "given", None: None}
    assert {(v.principle, v.order): v.log_odds for v in one} == {
        (v.principle, mirror[v.order]): pytest.approx(-v.log_odds) for v in other if v.log_odds is not None
    }


@pytest.mark.parametrize("mode", sorted(MODES))
async def test_rewording_one_principle_changes_that_principles_reads_only(mode: str) -> None:
    def asked(*principles: Principle) -> set[object]:
        module = {"logprob": "critic.judging.logprob", "contrast": "critic.judging.contrast"}[mode]
        tree = __import__(module, fromlist=["tree"]).tree(question(*principles))
        return {(path, read) for path, read, _ in reads(tree)}

    reworded = SHORT.model_copy(update={"statement": "Be brief.", "compare": "Briefer?"})
    before, after = asked(KIND, SHORT), asked(KIND, reworded)
    alone = 2
    assert len(before - after) == len(after - before) == alone

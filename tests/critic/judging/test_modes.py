"""The judge modes, on engines whose log-probabilities are known."""

import math
from contextlib import closing
from pathlib import Path

import pytest

from constitution import Principle
from critic.calls.ledger import Budget, RecordedEngine
from critic.engine import Choices, Completion, Engine, Lane, Node, Request, Score, reads
from critic.engines import parse_spec
from critic.engines.scripted import Failure, Script, ScriptedEngine, ScriptedRule
from critic.judging import mode_of
from critic.judging.aggregate import aggregate
from critic.judging.base import Question
from critic.judging.linear import LinearModel
from critic.judging.modes import MODES
from critic.judging.modes.contrast import SCALES, read_features
from critic.judging.modes.logprob import Logprob
from critic.judging.modes.verdict import parse_verdict
from critic.records import Message, Vote
from critic.run.folder.store import RunStore
from critic.settings.judging import Pooling
from tests.factories import FakeEngine, prompt, text_of

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
        return tuple(Score(self._find(text_of(path)), 10) for path, _, _ in reads(tree))

    def _find(self, path: str) -> tuple[float, ...]:
        def fits(key: str) -> bool:
            return all(part in path for part in key.split("&"))

        [likely] = [values for key, values in self.logprobs.items() if fits(key)]
        return likely


def question(*principles: Principle, first: str = "FIRST", second: str = "SECOND") -> Question:
    return Question(prompt("PROMPT"), first, second, principles, seed=0)


async def votes(mode: str, engine: Engine, asked: Question) -> list[Vote]:
    spec = "systemone:m" if mode.startswith("decision") else "scripted:s"
    return list(await mode_of(mode, parse_spec(spec)).votes(engine, asked))


async def test_logprob_undoes_the_order() -> None:
    # Given order shows FIRST as A; swapped shows SECOND as A. The judge likes FIRST by 2 where it is A, by 1 where B.
    given, swapped = "A&FIRST\n[response B", "A&SECOND\n[response B"
    engine = Known({given: (-0.5, -2.5), swapped: (-1.5, -0.5)})
    got = await votes("logprob", engine, question(KIND))
    assert [(v.order, v.log_odds) for v in got] == [("given", 2.0), ("swapped", 1.0)]
    assert {v.principle_digest for v in got} == {KIND.digest}
    assert {v.judge for v in got} == {"known"}


async def test_logprob_reads_both_letters_once_a_principle_and_order() -> None:
    tree = Logprob().tree(question(KIND, SHORT))
    asked = list(reads(tree))
    assert len(asked) == 4 and {read for _, read, _ in asked} == {Choices(("A", "B"))}
    assert [text_of(path).count("FIRST") for path, _, _ in asked] == [1] * 4


async def test_an_always_first_judge_says_one_half() -> None:
    engine = ScriptedEngine(Script(choose="first"))
    got = await votes("logprob", engine, question(KIND, SHORT))
    verdict = aggregate(got, [KIND, SHORT], Pooling())
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
    assert vote.log_odds == pytest.approx(0.3 * SCALES["token"])


async def test_contrast_without_an_opposite_compares_with_no_principle() -> None:
    class Plain(Known):
        def _find(self, path: str) -> tuple[float, ...]:
            under = 3.0 if "Be short" in path else 0.0
            return (-20.0 + under * (2 if path.endswith("FIRST") else 1),)

    [vote] = await votes("contrast", Plain({}), question(SHORT))
    assert vote.log_odds == pytest.approx(0.3 * SCALES["token"])


ALL = [*sorted(MODES.keys() - {"rm"}), "logprob?prior=true", "cot?samples=2", "contrast?against=none&per=total"]
ALL += ["decision?ask=predicate", "decision?ask=score"]
JUDGE = Script(
    replies=(
        ScriptedRule(match="JSON", reply='{"better": "A"}'),
        ScriptedRule(match="one letter", reply="A"),
        ScriptedRule(reply="Thought {seed}"),
    )
)


@pytest.mark.parametrize("mode", [*ALL, "contrast?against=prompt"])
async def test_exchanging_the_responses_mirrors_every_vote(mode: str) -> None:
    engine = ScriptedEngine(JUDGE)
    one = await votes(mode, engine, question(KIND, SHORT, first="x", second="y"))
    other = await votes(mode, engine, question(KIND, SHORT, first="y", second="x"))
    mirror = {"given": "swapped", "swapped": "given", None: None}
    assert one
    expected = {(v.principle, mirror[v.order]): pytest.approx(-v.log_odds) for v in other if v.log_odds is not None}
    assert {(v.principle, v.order): v.log_odds for v in one} == expected


@pytest.mark.parametrize("mode", ALL)
async def test_votes_name_their_source_and_cover_every_principle_and_order(mode: str) -> None:
    got = await votes(mode, ScriptedEngine(JUDGE, name="j"), question(KIND, SHORT))
    orders = {v.order for v in got}
    assert orders in ({None}, {"given", "swapped"})
    expected = [(p.id, p.digest) for p in (KIND, SHORT) for _ in orders]
    assert [(v.principle, v.principle_digest) for v in got] == expected
    assert {(v.judge, v.mode) for v in got} == {("j", mode.partition("?")[0])}


@pytest.mark.parametrize("mode", ALL)
async def test_rewording_one_principle_changes_that_principles_calls_only(mode: str) -> None:
    class Judge(ScriptedEngine):
        async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
            asked.add((request.messages, request.seed))
            return await super().complete(request, lane)

        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            asked.update((path, read) for path, read, _ in reads(tree))
            return await super().score(tree, lane)

    reworded = SHORT.model_copy(update={"statement": "Be brief.", "compare": "Briefer?"})
    made: list[set[object]] = []
    for principles in ((KIND, SHORT), (KIND, reworded), (KIND,), (SHORT,)):
        asked: set[object] = set()
        await votes(mode, Judge(JUDGE), question(*principles))
        made.append(asked)
    before, after, kind, short = made
    assert before - after <= short - kind and len(after - before) == len(before - after) > 0


async def test_a_nan_is_unreadable_in_every_mode_that_reads_numbers() -> None:
    written = ("logprob", "logprob?prior=true", "contrast", "contrast?against=prompt", "cot", "score")
    for mode in (*written, "decision", "decision?ask=predicate", "decision?ask=score"):
        engine = ScriptedEngine(Script(fail=Failure(every=1, how="nan")))
        assert all(v.log_odds is None and v.raw for v in await votes(mode, engine, question(KIND)))


async def test_the_prior_is_what_the_judge_says_of_empty_responses() -> None:
    # A judge that adds 1.5 to whatever it is shown first, and likes FIRST by 1: 2.5 and 0.5 on the page.
    class Leaning(FakeEngine):
        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            return tuple(Score((1.5 + self._likes(path), 0.0), 1) for path, _, _ in reads(tree))

        def _likes(self, path: tuple[Message, ...]) -> float:
            text = text_of(path)
            if "FIRST" not in text:
                return 0.0
            return 1.0 if text.index("FIRST") < text.index("SECOND") else -1.0

    plain = await votes("logprob", Leaning(), question(KIND))
    assert [v.log_odds for v in plain] == [2.5, -0.5]
    assert {v.prior for v in plain} == {None}
    calibrated = await votes("logprob?prior=true", Leaning(), question(KIND))
    assert [(v.log_odds, v.prior) for v in calibrated] == [(1.0, 1.5), (1.0, 1.5)]


async def test_reasoning_is_kept_averaged_and_clamped() -> None:
    class Reasoner(FakeEngine):
        async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
            seeds.add(request.seed)
            return Completion(f" thought {len(seeds)} ", "stop")

        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            # Probabilities of A on the page, for the two thoughts of either order: .9 and .7, then .55 and .45.
            shares = (0.9, 0.7, 0.55, 0.45)
            assert [path[-2].role for path, _, _ in reads(tree)] == ["assistant"] * 4
            return tuple(Score((math.log(p), math.log(1 - p)), 1) for p in shares)

    seeds: set[int] = set()
    given, swapped = await votes("cot?samples=2&low=0.3&high=0.6", Reasoner(), question(KIND))
    assert len(seeds) == 4
    assert given.log_odds == pytest.approx(math.log(0.6 / 0.4)) and swapped.log_odds == pytest.approx(0.0)
    assert given.reason == "thought 1\n\nthought 2"
    wide, _ = await votes("cot?samples=2&low=0&high=1", Reasoner(), question(KIND))
    assert wide.log_odds == pytest.approx(math.log(0.8 / 0.2))


async def test_a_judge_that_gives_no_reasons_is_unreadable() -> None:
    silent = ScriptedEngine(Script(replies=(ScriptedRule(reply="  "),)))
    assert [v.log_odds for v in await votes("cot", silent, question(KIND))] == [None, None]


async def test_verdicts_are_counted_and_never_guessed() -> None:
    async def odds(*replies: str, mode: str = "verdict") -> list[float | None]:
        engine = ScriptedEngine(Script(queue=replies))
        return [v.log_odds for v in await votes(mode, engine, question(KIND))]

    a, b, tie = '{"better": "A"}', '{"better":"B"}', ' {"better": "tie"}\n'
    three = math.log(1.5 / 0.5)
    assert await odds(a, b) == pytest.approx([three, three])
    assert await odds(tie, a) == pytest.approx([0.0, -three])
    # Of three: two for A and a tie are 2.5 against 0.5; one unreadable answer makes the vote unreadable.
    several = "verdict?samples=3&temperature=1"
    assert await odds(a, a, tie, b, b, a, mode=several) == pytest.approx([math.log(3 / 1), math.log(2.5 / 1.5)])
    assert (await odds(a, a, "A", b, b, b, mode=several))[0] is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        '"A"',
        '["A"]',
        '{"better": "a"}',
        '{"better": "A", "why": ""}',
        '{"better": "A", "better": "B"}',
        '{"better": ["A"]}',
        '{"better": null}',
        '{"better": "A"} {"better": "A"}',
        "```{}```",
        "[" * 100_000,
    ],
)
def test_what_is_not_exactly_the_object_is_no_verdict(text: str) -> None:
    assert parse_verdict(text) is None


async def test_a_score_is_the_expected_digit_plus_one() -> None:
    class Scorer(FakeEngine):
        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            sure = [math.log(1e-9)] * 10
            high, low = sure.copy(), sure.copy()
            high[9] = high[7] = math.log(0.25)  # only half of the mass is on digits: 9 and 7 share it
            low[2] = 0.0
            return (Score(tuple(high), 1), Score(tuple(low), 1))

    [vote] = await votes("score", Scorer(), question(KIND))
    assert vote.values == pytest.approx((9.0, 3.0), abs=1e-6)
    assert vote.log_odds == pytest.approx(6.0, abs=1e-6) and vote.order is None


async def test_contrasts_by_hand() -> None:
    # Log-likelihoods of FIRST (10 tokens) and SECOND (20 tokens) under the rule, against it, plain, and alone.
    table = {
        "Be kind": (-10.0, -20.0),
        "Be rude": (-14.0, -21.0),
        "Say something": (-25.0, -60.0),
        "PROMPT": (-12.0, -26.0),
    }

    class Likely(FakeEngine):
        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            return tuple(self._score(text_of(path)) for path, _, _ in reads(tree))

        def _score(self, path: str) -> Score:
            first, second = next(values for key, values in table.items() if key in path)
            return Score((first,), 10) if path.endswith("FIRST") else Score((second,), 20)

    async def odds(options: str) -> float | None:
        [vote] = await votes(f"contrast?{options}", Likely(), question(KIND))
        return vote.log_odds

    assert await odds("per=token&scale=1") == pytest.approx(0.4 - 0.05)
    assert await odds("per=total") == pytest.approx(4.0 - 1.0)
    assert await odds("against=none&per=total") == pytest.approx(2.0 - 6.0)
    assert await odds("against=none&scale=1") == pytest.approx(0.2 - 0.3)
    assert await odds("against=prompt&per=total") == pytest.approx(13.0 - 34.0)
    assert await odds("against=prompt&scale=2") == pytest.approx(2 * (1.3 - 1.7))


async def test_a_linear_model_weighs_all_contrasts(tmp_path: Path) -> None:
    weights = {"opposite_token": 2.0, "prompt_total": -0.5, "length": 1.0}
    model = LinearModel(weights=weights, judge="scripted", revision="1", labels=10, accuracy=0.6)
    file = tmp_path / "linear.json"
    file.write_text(model.model_dump_json())
    engine = ScriptedEngine(Script())
    linear = await votes(f"contrast?weights={file}", engine, question(KIND, SHORT))
    [prompt_total] = await votes("contrast?against=prompt&per=total", engine, question(KIND, SHORT))
    opposite = await votes("contrast?scale=2", engine, question(KIND, SHORT))
    length = math.log((1 + 1) / (1 + 1))  # "FIRST" and "SECOND" are one scripted token each
    for vote, alone in zip(linear, opposite, strict=True):
        assert alone.log_odds is not None and prompt_total.log_odds is not None
        assert vote.log_odds == pytest.approx(alone.log_odds - 0.5 * prompt_total.log_odds + length)


async def test_contrasts_share_their_reads_with_the_features_of_a_linear_model(tmp_path: Path) -> None:
    asked: list[int] = []

    class Counting(FakeEngine):
        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            scores = tuple(Score((-1.0,), 10) for _ in reads(tree))
            asked.append(len(scores))
            return scores

    with closing(RunStore.open(tmp_path / "run", {"kind": "shared reads"}, extend=False)) as store:
        engine = RecordedEngine(Counting(), store, Budget())
        await read_features(engine, question(KIND))
        assert asked == [8], "both responses: under the principle, its opposite, neither, and without a prompt"
        for mode in ("contrast", "contrast?against=none", "contrast?against=prompt", "contrast?per=total"):
            await votes(mode, engine, question(KIND))
    assert asked == [8]

"""The mode `decision`, on an engine whose typed answers are known."""

import math

import pytest

from base.errors import InputError
from constitution import Principle
from critic.calls.ledger import Budget, MemoryLedger, RecordedEngine
from critic.engine import Decision, DecisionOption, Engine, EngineError, Lane, Node, Score, reads
from critic.engines import kinds, parse_spec
from critic.judging import mode_of
from critic.judging.aggregate import aggregate
from critic.judging.base import Question
from critic.judging.modes import MODES
from critic.judging.modes.decision import DecisionMode
from critic.records import Vote
from critic.settings.judging import Pooling
from tests.factories import FakeEngine, prompt

KIND = Principle(id="kind", title="K", statement="Be kind.", critique="c", revision="r", compare="Kinder?")
SHORT = Principle(id="short", title="S", statement="Be short.", critique="c", revision="r", compare="Shorter?")
REFUSED = Score((math.nan, math.nan), 0, note="it refused")


def shares(*values: float, mass: float | None = 0.9, confidence: float | None = 0.5) -> Score:
    return Score(tuple(map(math.log, values)), 0, mass, confidence)


class Deciding(FakeEngine):
    """Answers by a table: the part of the text, the part of the question -> score. Keeps the trees."""

    def __init__(self, table: dict[tuple[str, str], Score]) -> None:
        super().__init__("deciding")
        self.table = table
        self.trees: list[Node] = []
        self.broken = ""

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        self.trees.append(tree)
        scores = []
        for path, read, _ in reads(tree):
            assert isinstance(read, Decision)
            text = "".join(m.content for m in path)
            if self.broken and self.broken in text:
                raise EngineError("broken")
            [one] = [s for (part, asked), s in self.table.items() if part in text and asked in read.instructions]
            scores.append(one)
        return tuple(scores)


# A page shows FIRST first in the given order, and last in the swapped one.
GIVEN, SWAPPED = "FIRST\n[second", "SECOND\n[second"
ALONE_FIRST, ALONE_SECOND = "\nFIRST\n[end", "\nSECOND\n[end"


def question(*principles: Principle) -> Question:
    return Question(prompt("PROMPT"), "FIRST", "SECOND", principles, seed=0)


async def votes(engine: Engine, *principles: Principle, **options: object) -> list[Vote]:
    return list(await DecisionMode.model_validate(options).votes(engine, question(*principles)))


async def test_a_choice_undoes_the_order() -> None:
    engine = Deciding(
        {
            (GIVEN, "Kinder?"): shares(0.8, 0.2, mass=0.9, confidence=0.7),
            (SWAPPED, "Kinder?"): shares(0.6, 0.4, mass=0.8, confidence=0.3),
            (GIVEN, "Shorter?"): shares(0.1, 0.9),
            (SWAPPED, "Shorter?"): shares(0.9, 0.1),
        }
    )
    got = await votes(engine, KIND, SHORT)
    assert [(v.principle, v.order) for v in got] == [
        ("kind", "given"),
        ("kind", "swapped"),
        ("short", "given"),
        ("short", "swapped"),
    ]
    expected = [math.log(4), -math.log(1.5), -math.log(9), -math.log(9)]
    assert [v.log_odds for v in got] == pytest.approx(expected)
    assert [(v.mass, v.confidence) for v in got[:2]] == [(0.9, 0.7), (0.8, 0.3)]
    assert {(v.mode, v.judge) for v in got} == {("decision", "deciding")}


async def test_a_judge_that_likes_a_place_comes_out_at_a_half() -> None:
    engine = Deciding({(GIVEN, "Kinder?"): shares(0.9, 0.1), (SWAPPED, "Kinder?"): shares(0.9, 0.1)})
    got = await votes(engine, KIND)
    assert [v.log_odds for v in got] == pytest.approx([math.log(9), -math.log(9)])
    assert aggregate(got, [KIND], Pooling()).probability == 0.5


async def test_all_principles_of_an_order_are_one_tree() -> None:
    engine = Deciding({("FIRST", ""): shares(0.5, 0.5)})
    await votes(engine, KIND, SHORT)
    assert len(engine.trees) == 2
    for tree in engine.trees:
        instructions = [read.instructions for _, read, _ in reads(tree)]  # type: ignore[union-attr]  # all are read
        assert instructions == ["Principle: Be kind.\nKinder?", "Principle: Be short.\nShorter?"]
    [read, *_] = [read for _, read, _ in reads(engine.trees[0])]
    assert read == Decision(
        "choice", "Principle: Be kind.\nKinder?", (DecisionOption("first response"), DecisionOption("second response"))
    )


async def test_a_predicate_reads_each_response_alone() -> None:
    engine = Deciding(
        {
            (ALONE_FIRST, "Be kind."): shares(0.8, 0.2, mass=0.5, confidence=0.4),
            (ALONE_SECOND, "Be kind."): shares(0.5, 0.5, mass=0.6, confidence=0.3),
        }
    )
    [vote] = await votes(engine, KIND, ask="predicate")
    assert vote.log_odds == pytest.approx(math.log(4))
    assert vote.values == pytest.approx((0.8, 0.5))
    assert (vote.order, vote.mass, vote.confidence) == (None, 0.5, 0.3)


async def test_a_score_is_the_expected_level_from_1_to_10() -> None:
    engine = Deciding(
        {
            (ALONE_FIRST, "Be kind."): shares(0.1, 0.1, 0.1, 0.1, 0.6),
            (ALONE_SECOND, "Be kind."): shares(0.2, 0.2, 0.2, 0.2, 0.2),
        }
    )
    [vote] = await votes(engine, KIND, ask="score")
    first, second = 1 + 9 * (0.1 + 0.2 + 0.3 + 2.4) / 4, 1 + 9 * 0.5
    assert vote.values == pytest.approx((first, second))
    assert vote.log_odds == pytest.approx(first - second)


@pytest.mark.parametrize(("floor", "readable"), [(0.1, False), (0.05, True), (0, True), (1, False)])
async def test_below_the_floor_a_vote_is_unreadable(floor: float, readable: bool) -> None:
    engine = Deciding({("FIRST", ""): shares(0.9, 0.1, mass=0.06)})
    got = await votes(engine, KIND, floor=floor)
    assert [v.log_odds is not None for v in got] == [readable] * 2
    assert [v.mass for v in got] == [0.06] * 2  # it is kept either way
    assert readable or all(f"puts 0.06 on any of the choices, below the floor of {floor:g}" in str(v.raw) for v in got)


async def test_a_server_that_tells_no_mass_is_read_all_the_same() -> None:
    engine = Deciding({("FIRST", ""): shares(0.9, 0.1, mass=None, confidence=None)})
    got = await votes(engine, KIND, floor=1)
    assert [(v.log_odds is not None, v.mass, v.confidence) for v in got] == [(True, None, None)] * 2


async def test_a_refusal_is_that_vote_s_outcome_alone() -> None:
    engine = Deciding({(GIVEN, "Kinder?"): REFUSED, ("FIRST", ""): shares(0.9, 0.1)})
    engine.table = {
        (GIVEN, "Kinder?"): REFUSED,
        (SWAPPED, "Kinder?"): shares(0.9, 0.1),
        ("FIRST", "Shorter?"): shares(0.9, 0.1),
    }
    got = await votes(engine, KIND, SHORT)
    assert [v.raw for v in got] == ["it refused", None, None, None]
    engine.table = {(ALONE_FIRST, "kind"): shares(0.9, 0.1), (ALONE_SECOND, "kind"): REFUSED}
    [vote] = await votes(engine, KIND, ask="predicate")
    assert (vote.raw, vote.log_odds, vote.values) == ("it refused", None, None)


async def test_what_fails_in_one_order_costs_the_other_nothing() -> None:
    engine = Deciding({("FIRST", ""): shares(0.9, 0.1)})
    engine.broken = SWAPPED
    ledger = MemoryLedger()
    with pytest.raises(EngineError, match="broken"):
        await votes(RecordedEngine(engine, ledger, Budget()), KIND, SHORT)
    assert ledger.calls() == 2
    engine.broken = ""
    assert len(await votes(RecordedEngine(engine, ledger, Budget()), KIND, SHORT)) == 4
    assert len(engine.trees) == 3  # the given order was not asked again


async def test_another_principle_asks_its_own_question_only() -> None:
    engine, ledger = Deciding({("FIRST", ""): shares(0.9, 0.1)}), MemoryLedger()
    await votes(RecordedEngine(engine, ledger, Budget()), KIND)
    engine.trees.clear()
    await votes(RecordedEngine(engine, ledger, Budget()), KIND, SHORT)
    asked = []
    for tree in engine.trees:
        asked.append([read.instructions for _, read, _ in reads(tree)])  # type: ignore[union-attr]  # all are read
    assert asked == [["Principle: Be short.\nShorter?"]] * 2


async def test_what_is_stored_is_read_as_it_was() -> None:
    told = {
        (GIVEN, "Kinder?"): shares(0.8, 0.2, mass=0.9, confidence=0.7),
        (SWAPPED, "Kinder?"): REFUSED,
        (GIVEN, "Shorter?"): shares(0.8, 0.2, mass=None, confidence=0.7),
        (SWAPPED, "Shorter?"): shares(0.8, 0.2, mass=None, confidence=None),
    }
    engine, ledger = Deciding(told), MemoryLedger()
    first = await votes(RecordedEngine(engine, ledger, Budget()), KIND, SHORT)
    again = await votes(RecordedEngine(Deciding({}), ledger, Budget()), KIND, SHORT)
    assert first == again
    assert [v.confidence for v in again] == [0.7, None, 0.7, None]


@pytest.mark.parametrize("kind", sorted(kinds()))
@pytest.mark.parametrize("name", sorted(MODES))
def test_an_engine_is_asked_in_its_own_modes_only(kind: str, name: str) -> None:
    target = kinds()[kind].target
    spec = parse_spec(f"{kind}:x" if target else kind)
    own = {
        "text": {"contrast", "cot", "letters", "logprob", "score", "verdict"},
        "rewards": {"rm"},
        "decisions": {"decision"},
    }[spec.gives]
    if name in own:
        assert mode_of(name, spec).name == name
    elif MODES[name].reads != spec.gives:
        with pytest.raises(InputError, match=f"gives {spec.gives}, and can't be asked in mode {name}"):
            mode_of(name, spec)


def test_the_default_modes() -> None:
    specs = ["decisions:m", "systemone:m@http://x/v1", "embedded", "hf:m", "openai:m", "rm:m", "verify:contains=a"]
    names = [mode_of(None, parse_spec(spec)).name for spec in specs]
    assert names == ["decision", "decision", "contrast", "logprob", "logprob", "rm", "rm"]


@pytest.mark.parametrize("mode", ["decision?ask=coin", "decision?floor=2", "decision?samples=2"])
def test_options_are_checked(mode: str) -> None:
    with pytest.raises(InputError, match="Options of decision: floor, ask"):
        mode_of(mode, parse_spec("systemone:m"))

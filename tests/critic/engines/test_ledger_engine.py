"""The recorded engine: each call once, whatever is asked together, again, or fails."""

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from critic.calls.ledger import Budget, MemoryLedger, RecordedEngine
from critic.engine import (
    BudgetExceeded,
    Choices,
    Completion,
    Decision,
    DecisionOption,
    EngineError,
    Lane,
    Node,
    OwnTokens,
    Request,
    Sampling,
    Score,
    reads,
)
from critic.records import Message
from critic.run.folder.store import RunStore
from tests.factories import FakeEngine, text_of


class Fake(FakeEngine):
    """Counts; answers each read with a number made of its path; can be told to fail, or to wait."""

    def __init__(self, name: str = "fake") -> None:
        super().__init__(name)
        self.trees: list[Node] = []
        self.asked: list[str] = []
        self.error: Exception | None = None

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        self.asked.append(request.messages[-1].content)
        await asyncio.sleep(0.01)
        if self.error:
            raise self.error
        return Completion(f"answer {len(self.asked)}", "stop", 3, 2)

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        self.trees.append(tree)
        await asyncio.sleep(0.01)
        if self.error:
            raise self.error
        return tuple(value(text_of(path)) for path, _, _ in reads(tree))


def value(path: str) -> Score:
    return Score((-float(len(path)), -1.0), len(path))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    store = RunStore.open(tmp_path, {}, extend=False)
    yield store
    store.close()


def user(text: str) -> Message:
    return Message(role="user", content=text)


def request(text: str, seed: int = 0) -> Request:
    return Request((user(text),), Sampling(max_tokens=5), seed)


def leaf(text: str) -> Node:
    return Node((user(text),), Choices(("A", "B")))


def wide(*leaves: str) -> Node:
    return Node((user("root "),), children=tuple(leaf(text) for text in leaves))


async def test_an_answer_is_asked_for_once(store: RunStore) -> None:
    fake = Fake()
    engine = RecordedEngine(fake, store, Budget())
    first = await engine.complete(request("x"))
    again, other = await asyncio.gather(engine.complete(request("x")), engine.complete(request("x", seed=1)))
    assert first == again == Completion("answer 1", "stop", 3, 2)
    assert other.text == "answer 2"
    assert len(fake.asked) == 2


async def test_the_same_call_at_the_same_time_is_made_once(store: RunStore) -> None:
    fake = Fake()
    engine = RecordedEngine(fake, store, Budget())
    answers = await asyncio.gather(*(engine.complete(request("x")) for _ in range(9)))
    assert len(fake.asked) == 1 and len(set(answers)) == 1


async def test_only_missing_reads_are_asked_for(store: RunStore) -> None:
    fake = Fake()
    engine = RecordedEngine(fake, store, Budget())
    await engine.score(wide("b", "ddd"))
    scores = await engine.score(wide("a", "b", "cc", "ddd"))
    assert scores == tuple(value("root " + text) for text in ("a", "b", "cc", "ddd"))
    one, other = fake.trees
    assert [path[-1].content for path, _, _ in reads(one)] == ["b", "ddd"]
    assert [path[-1].content for path, _, _ in reads(other)] == ["a", "cc"]


async def test_a_read_twice_in_one_tree_is_asked_for_once(store: RunStore) -> None:
    fake = Fake()
    engine = RecordedEngine(fake, store, Budget())
    assert await engine.score(wide("b", "a", "b")) == tuple(value("root " + text) for text in ("b", "a", "b"))
    assert store.calls() == 2


async def test_trees_that_overlap_at_the_same_time(store: RunStore) -> None:
    fake = Fake()
    engine = RecordedEngine(fake, store, Budget())
    await asyncio.gather(engine.score(wide("a", "b")), engine.score(wide("b", "c")), engine.score(wide("c", "a")))
    asked = [path[-1].content for tree in fake.trees for path, _, _ in reads(tree)]
    assert sorted(asked) == ["a", "b", "c"]


async def test_reads_inside_the_tree_keep_their_order(store: RunStore) -> None:
    own = OwnTokens()
    tree = Node((user("r"),), own, (Node((user("ab"),), own, (leaf("c"),)), Node((user("d"),), None, (leaf("eee"),))))
    engine = RecordedEngine(Fake(), store, Budget())
    want = tuple(value(text) for text in ("r", "rab", "rabc", "rdeee"))
    assert await engine.score(tree) == want == await engine.score(tree)


async def test_different_engines_do_not_share_answers(store: RunStore) -> None:
    one, other = Fake("one"), Fake("other")
    await RecordedEngine(one, store, Budget()).complete(request("x"))
    await RecordedEngine(other, store, Budget()).complete(request("x"))
    assert len(other.asked) == 1


@pytest.mark.parametrize("error", [EngineError("no"), ValueError("whatever an engine raises")])
async def test_a_failed_call_is_not_committed_and_can_be_made_again(store: RunStore, error: Exception) -> None:
    fake = Fake()
    engine = RecordedEngine(fake, store, Budget())
    fake.error = error
    results = await asyncio.gather(*(engine.complete(request("x")) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, EngineError) for result in results)
    assert store.calls() == 0
    fake.error = None
    assert (await engine.complete(request("x"))).text == "answer 4"


async def test_nan_and_no_chance_at_all_are_kept_as_they_are(store: RunStore) -> None:
    class Broken(Fake):
        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            return (Score((math.nan, -math.inf), 1),)

    engine = RecordedEngine(Broken(), store, Budget())
    for _ in range(2):
        [score] = await engine.score(leaf("x"))
        assert math.isnan(score.values[0]) and score.values[1] == -math.inf


async def test_what_few_scores_have_is_kept_too(store: RunStore) -> None:
    told = [
        Score((-0.5, -1.0), 3, 0.9, 0.7),
        Score((-0.5, -1.0), 3, None, 0.7),
        Score((-0.5, -1.0), 0, 0.0),
        Score((-0.5,), 0, note="it refused"),
        Score((-0.5,), 4),
    ]

    class Telling(Fake):
        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            assert not self.trees
            self.trees.append(tree)
            return tuple(told)

    engine = RecordedEngine(Telling(), store, Budget())
    tree = wide(*"abcde")
    assert list(await engine.score(tree)) == list(await engine.score(tree)) == told


async def test_an_answer_from_before_there_was_more_to_keep_is_read(store: RunStore) -> None:
    class Old(MemoryLedger):
        def get(self, key: str) -> list[object]:
            return [[-0.5, "nan"], 3]

    [score] = await RecordedEngine(Fake(), Old(), Budget()).score(leaf("x"))
    assert score.values[0] == -0.5 and math.isnan(score.values[1])
    assert (score.tokens, score.mass, score.confidence, score.note) == (3, None, None, None)


async def test_decisions_about_one_text_have_keys_of_their_own(store: RunStore) -> None:
    """A key holds all that is asked: type, words, and the options with their order."""
    one, other = DecisionOption("a"), DecisionOption("b")
    asked = [
        Decision("choice", "x", (one, other)),
        Decision("choice", "x", (other, one)),
        Decision("choice", "x", (one, DecisionOption("b", "described"))),
        Decision("score", "x", (one, other)),
        Decision("predicate", "x"),
        Decision("predicate", "y"),
    ]
    fake = Fake()
    engine = RecordedEngine(fake, store, Budget())
    for question in [*asked, *asked]:
        await engine.score(Node((Message(role="user", content="text"),), question))
    assert len(fake.trees) == len(asked)


async def test_the_budget_is_hard_and_counts_reads(store: RunStore) -> None:
    fake = Fake()
    engine = RecordedEngine(fake, store, Budget(limit=3))
    await engine.score(wide("a", "b"))
    with pytest.raises(BudgetExceeded):
        await engine.score(wide("c", "d"))
    await engine.complete(request("x"))
    with pytest.raises(BudgetExceeded):
        await engine.complete(request("y"))
    assert await engine.score(wide("b", "a"))  # committed answers cost nothing
    assert len(fake.trees) == 1 and fake.asked == ["x"]


async def test_an_engine_without_whole_trees_is_asked_read_by_read_and_keeps_what_it_got(store: RunStore) -> None:
    class Server(Fake):
        whole_trees = False

        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            if "bad" in "".join(m.content for path, _, _ in reads(tree) for m in path):
                raise EngineError("no")
            return await super().score(tree, lane)

    server = Server()
    engine = RecordedEngine(server, store, Budget())
    tree = Node((user("root "),), children=(leaf("one"), leaf("bad"), leaf("two")))
    for _ in range(2):
        with pytest.raises(EngineError, match="no"):
            await engine.score(tree)
    assert [len(list(reads(asked))) for asked in server.trees] == [1, 1]
    assert store.calls() == 2


class Paid(Fake):
    """A dollar a token. A request of one letter may cost 9: 4 for its message as estimated, 5 to be written."""

    whole_trees = False

    def __init__(self, prompt_tokens: int = 3, written: int = 2) -> None:
        super().__init__()
        self.usage.input_price = self.usage.output_price = 1e6
        self._tokens = prompt_tokens, written

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        self._pay()
        return await super().complete(request, lane)

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        self._pay()
        return await super().score(tree, lane)

    def _pay(self) -> None:
        self.usage.prompt_tokens += self._tokens[0]
        self.usage.completion_tokens += self._tokens[1]


async def test_a_call_is_made_only_where_its_worst_case_fits(store: RunStore) -> None:
    budget = Budget(max_cost=20)
    engine = RecordedEngine(Paid(), store, budget)
    for number in range(3):  # 0 + 9, 5 + 9 and 10 + 9 fit
        await engine.complete(request("x", seed=number))
    with pytest.raises(BudgetExceeded, match=r"\$20.0000 is reached: \$15.0000 spent.*may cost \$9.0000.*--max-cost"):
        await engine.complete(request("x", seed=3))
    assert (budget.cost, store.cost(), store.calls()) == (15, 15, 3)


async def test_room_for_thoughts_is_set_aside(store: RunStore) -> None:
    paid, budget = Paid(), Budget(max_cost=20)
    paid.usage.room = 12  # 9 + 12 dollars at most
    with pytest.raises(BudgetExceeded, match=r"may cost \$21.0000"):
        await RecordedEngine(paid, store, budget).complete(request("x"))
    assert paid.asked == []
    await RecordedEngine(paid, store, budget).score(Node(request("x").messages, Choices(("A",))))  # reads think not


async def test_calls_at_the_same_time_spend_no_more_and_no_less(store: RunStore) -> None:
    paid, budget = Paid(), Budget(max_cost=20)
    engine = RecordedEngine(paid, store, budget)
    calls = [engine.complete(request("x", seed=number)) for number in range(5)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    # Two at once may cost 18. Once they have cost 10, there is room for another.
    assert [isinstance(result, BudgetExceeded) for result in results].count(True) == 2
    assert (len(paid.asked), budget.cost, store.cost()) == (3, 15, 15)


async def test_the_limit_is_passed_by_the_estimate_s_error_and_no_more(store: RunStore) -> None:
    budget = Budget(max_cost=20)
    engine = RecordedEngine(Paid(prompt_tokens=14), store, budget)  # 10 more than estimated
    results = await asyncio.gather(*(engine.complete(request("x", seed=i)) for i in range(5)), return_exceptions=True)
    assert [isinstance(result, BudgetExceeded) for result in results].count(True) == 3
    assert budget.cost == 32 <= 20 + 2 * 10


async def test_what_earlier_starts_spent_counts(store: RunStore) -> None:
    await RecordedEngine(Paid(), store, Budget()).complete(request("x"))
    engine = RecordedEngine(Paid(), store, Budget(max_cost=13, cost=store.cost()))
    assert await engine.complete(request("x"))  # committed, so it costs nothing
    with pytest.raises(BudgetExceeded):
        await engine.complete(request("y"))


async def test_a_failed_call_was_paid_all_the_same(store: RunStore) -> None:
    paid, budget = Paid(), Budget(max_cost=20)
    engine = RecordedEngine(paid, store, budget)
    paid.error = EngineError("the server's answer holds no text")
    with pytest.raises(EngineError):
        await engine.complete(request("x"))
    assert (budget.cost, store.cost()) == (5, 0)
    paid.error = None
    await engine.complete(request("x"))
    assert budget.cost == store.cost() == 10


async def test_each_read_is_paid(store: RunStore) -> None:
    budget = Budget(max_cost=20)
    engine = RecordedEngine(Paid(written=1), store, budget)
    # A read may cost 10: "root " and "a" are messages of 5 and 4 tokens as estimated, and one is written. It costs 4.
    await engine.score(wide("a", "b"))
    assert budget.cost == store.cost() == 8
    with pytest.raises(BudgetExceeded):
        await engine.score(wide("c", "d"))
    assert budget.cost == 12


async def test_what_costs_nothing_goes_on(store: RunStore) -> None:
    budget = Budget(max_cost=1, cost=1)
    assert await RecordedEngine(Fake(), store, budget).complete(request("x"))
    with pytest.raises(BudgetExceeded):
        await RecordedEngine(Paid(), store, budget).complete(request("y"))


async def test_a_call_that_waits_for_the_budget_can_be_cancelled(store: RunStore) -> None:
    paid, budget = Paid(), Budget(max_cost=10)
    engine = RecordedEngine(paid, store, budget)
    first = asyncio.create_task(engine.complete(request("x")))
    waiting = asyncio.create_task(engine.complete(request("y")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(first, waiting, return_exceptions=True)
    assert (paid.asked, budget.cost) == (["x"], 5)

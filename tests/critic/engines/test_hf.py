"""The engine: answers equal to transformers' own, whatever shares the batch; lanes; bad input; failures."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedModel

from base.errors import InputError
from critic.chats.chat import Chat
from critic.chats.tokens import TokenTree
from critic.engine import Choices, EngineError, Lane, Node, OwnTokens, Request, RequestTooLong, Sampling, Score
from critic.engines import open_engine as open_spec
from critic.engines import parse_spec
from critic.local import worker
from critic.local.language_model import HfEngine, open_engine
from critic.local.trees.decoding import Decoder
from critic.records import Message

GREEDY = Sampling(24, temperature=0.0)


def ask(text: str, sampling: Sampling = GREEDY, seed: int = 0) -> Request:
    return Request((Message(role="user", content=text),), sampling, seed)


def question(text: str) -> Node:
    return Node((Message(role="user", content=text),), Choices(("A", "B")))


@asynccontextmanager
async def opened(folder: Path, **options: str) -> AsyncIterator[HfEngine]:
    engine = open_engine(str(folder), {"dtype": "float32", **options})
    try:
        yield engine
    finally:
        await engine.close()


def generated(model: LlamaForCausalLM, chat: Chat, request: Request) -> str:
    """What transformers' own greedy decoding makes of a request."""
    prompt = chat.encode(request.messages)
    with torch.inference_mode():
        out = model.generate(  # type: ignore[misc]  # its mixin is untyped
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=request.sampling.max_tokens,
            do_sample=False,
        )
    # The tiny model may begin with the token of <think>: what it writes then are thoughts.
    return chat.split(prompt, out[0, len(prompt) :].tolist())[0]


PROMPTS = ["", "a", "What?", "a longer prompt, of several words", "x" * 90, "Why not?", "1 2 3", "b"]


async def test_greedy_answers_are_those_of_generate(engine: HfEngine, reference: LlamaForCausalLM, chat: Chat) -> None:
    requests = [ask(text) for text in PROMPTS]
    completions = await asyncio.gather(*(engine.complete(request) for request in requests))
    expected = [generated(reference, chat, request) for request in requests]
    assert [completion.text for completion in completions] == expected


async def test_answers_that_join_and_leave_change_no_other(tiny_model: Path) -> None:
    """More requests than slots, of different lengths: the cache grows, slots move, prompts join at every step."""
    rng = random.Random(5)
    requests = [
        ask("p" * rng.randrange(1, 40), Sampling(rng.randrange(1, 60), temperature=float(i % 2)), seed=i)
        for i in range(30)
    ]
    async with opened(tiny_model, batch="5") as engine:
        together = await asyncio.gather(*(engine.complete(request) for request in requests))
    async with opened(tiny_model, batch="1") as engine:
        alone = [await engine.complete(request) for request in requests]
    assert together == alone


async def test_a_seed_decides_a_sampled_answer(tiny_model: Path) -> None:
    async with opened(tiny_model, deterministic="true") as engine:
        first, again, other = [
            await engine.complete(ask("tell me", Sampling(40, temperature=1.0), seed)) for seed in (1, 1, 2)
        ]
    assert first == again
    assert first.text != other.text


async def test_equal_prompts_with_different_seeds_are_read_once_and_differ(engine: HfEngine) -> None:
    before = engine.usage.prompt_tokens
    requests = [ask("tell me", Sampling(40, temperature=1.0), seed) for seed in range(4)]
    with engine._worker._wake:  # so that the worker takes none before all are there
        answers = [asyncio.create_task(engine.complete(request)) for request in requests]
        while len(engine._worker._inbox) < len(requests):
            await asyncio.sleep(0)
    completions = await asyncio.gather(*answers)
    assert len({completion.text for completion in completions}) == 4
    assert engine.usage.prompt_tokens - before == completions[0].prompt_tokens


async def test_a_stop_string_ends_the_answer_and_is_not_in_it(engine: HfEngine) -> None:
    whole = (await engine.complete(ask("stop me"))).text
    stop = whole[3:5]
    cut = await engine.complete(ask("stop me", Sampling(24, temperature=0.0, stop=("\x00", stop))))
    assert cut.text == whole[: whole.index(stop)]
    assert cut.finish == "stop"


async def test_max_tokens_ends_the_answer(engine: HfEngine) -> None:
    whole = await engine.complete(ask("a", Sampling(3, temperature=0.0)))
    assert (whole.finish, whole.completion_tokens) == ("length", 3)
    assert whole.text == (await engine.complete(ask("a"))).text[: len(whole.text)]


async def test_every_end_token_of_the_model_ends_the_answer(
    tiny_model: Path, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model names two; each is made the likeliest next token in turn."""
    control = {str(token): i for i, token in chat._splitter._tokenizer.added_tokens_decoder.items()}
    for token in (control["<|shut|>"], control["<|end|>"]):
        async with opened(tiny_model) as engine:
            decoder = engine._worker._decoder
            assert isinstance(decoder, Decoder)
            monkeypatch.setattr(decoder, "_head", _always(token))
            completion = await engine.complete(ask("a"))
        assert (completion.text, completion.finish, completion.completion_tokens) == ("", "stop", 0)


def _always(token: int) -> torch.nn.Linear:
    head = torch.nn.Linear(32, 260)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    head.bias.data[token] = 1.0
    return head


async def test_an_answer_continues_a_final_assistant_message(
    engine: HfEngine, reference: LlamaForCausalLM, chat: Chat
) -> None:
    begun = Request((*ask("go on").messages, Message(role="assistant", content="Well, ")), GREEDY, 0)
    assert (await engine.complete(begun)).text == generated(reference, chat, begun)


async def test_deterministic_results_do_not_depend_on_what_else_is_asked(tiny_model: Path) -> None:
    tree = Node((Message(role="user", content="r"),), None, (question("one"), question("two")))
    request = ask("tell me", Sampling(30, temperature=1.0), 3)
    async with opened(tiny_model, deterministic="true") as engine:
        alone = (await engine.score(tree), await engine.complete(request))
        others = [engine.complete(ask("n" * i, Sampling(30))) for i in range(5)]
        noise = asyncio.gather(*others, *(engine.score(question("q" * i)) for i in range(5)))
        busy = (await engine.score(tree), await engine.complete(request))
        await noise
    assert busy == alone  # to the last bit


async def test_scores_do_not_depend_on_the_pack_beyond_rounding(engine: HfEngine) -> None:
    trees = [question("q" * i) for i in range(1, 12)]
    together = await asyncio.gather(*(engine.score(tree) for tree in trees))
    for tree, scores in zip(trees, together, strict=True):
        assert scores[0].values == pytest.approx((await engine.score(tree))[0].values, abs=1e-5)


async def test_interactive_requests_overtake(tiny_model: Path) -> None:
    order: list[str] = []

    async def noted(name: str, request: Request, lane: Lane) -> None:
        await engine.complete(request, lane)
        order.append(name)

    async with opened(tiny_model, batch="1") as engine:
        batch = [noted(f"batch {i}", ask("b", Sampling(40)), "batch") for i in range(6)]
        await asyncio.gather(*batch, noted("interactive", ask("i", Sampling(5)), "interactive"))
    assert order.index("interactive") <= 1


async def test_trees_and_answers_share_the_engine(tiny_model: Path) -> None:
    """Answers go on being written while many trees wait, and the trees are not starved by the answers."""
    order: list[str] = []

    async def noted(name: str, work: Awaitable[object]) -> None:
        await work
        order.append(name)

    async with opened(tiny_model, deterministic="true") as engine:
        trees = [noted("tree", engine.score(question("q" * 50))) for _ in range(60)]
        await asyncio.gather(*trees, noted("answer", engine.complete(ask("a", Sampling(20)))))
        first_answer = order.index("answer")
    assert 0 < first_answer < 60


async def test_a_chat_beyond_the_context_is_refused_with_its_length(engine: HfEngine) -> None:
    with pytest.raises(RequestTooLong, match=r"\d+ tokens and up to 500 more.* context is 512"):
        await engine.complete(ask("x", Sampling(500)))
    with pytest.raises(RequestTooLong, match="context is 512"):
        await engine.score(question("x" * 600))


async def test_a_bad_request_fails_alone(engine: HfEngine) -> None:
    results = await asyncio.gather(
        engine.score(Node(ask("a").messages, Choices(("AB",)))),
        engine.score(question("fine")),
        engine.complete(ask("fine")),
        engine.complete(ask("x", Sampling(0))),
        return_exceptions=True,
    )
    assert isinstance(results[0], EngineError)
    assert isinstance(results[1], tuple) and isinstance(results[1][0], Score)
    assert not isinstance(results[2], BaseException)
    assert isinstance(results[3], EngineError)


async def test_an_exception_in_the_model_costs_only_its_request(
    engine: HfEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = engine._worker._ways

    def sometimes(model: PreTrainedModel, trees: Sequence[TokenTree]) -> list[tuple[Score, ...]]:
        if any(tree.tokens > 60 for tree in trees):
            raise RuntimeError("no memory")
        return ways.score(model, trees)

    monkeypatch.setattr(engine._worker, "_ways", replace(ways, score=sometimes))
    results = await asyncio.gather(
        engine.score(question("a")),
        engine.score(question("a" * 90)),
        engine.score(question("b")),
        return_exceptions=True,
    )
    assert [isinstance(result, EngineError) for result in results] == [False, True, False]
    assert "no memory" in str(results[1])


async def test_an_exception_while_writing_costs_only_its_answer(
    engine: HfEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = engine._worker._decoder
    genuine = decoder.step

    def sometimes(first: int = 0, count: int | None = None) -> None:
        chosen = decoder.answers[first:] if count is None else decoder.answers[first : first + count]
        if any(len(answer.prompt) > 100 for answer in chosen):
            raise RuntimeError("no memory")
        genuine(first, count)

    monkeypatch.setattr(decoder, "step", sometimes)
    fine = await engine.complete(ask("a"))
    results = await asyncio.gather(
        engine.complete(ask("a")), engine.complete(ask("a" * 90)), engine.complete(ask("a")), return_exceptions=True
    )
    assert isinstance(results[1], EngineError)
    assert results[0] == results[2] == fine


async def test_a_cancelled_answer_frees_its_slot(tiny_model: Path) -> None:
    async with opened(tiny_model, batch="1") as engine:
        endless = asyncio.create_task(engine.complete(ask("a", Sampling(450))))
        await asyncio.sleep(0.02)
        endless.cancel()
        assert (await engine.complete(ask("b"))).text
        assert not engine._worker._writing


async def test_closing_ends_what_is_pending(tiny_model: Path) -> None:
    engine = open_engine(str(tiny_model), {"dtype": "float32"})
    pending = [asyncio.create_task(engine.complete(ask("a", Sampling(450)))) for _ in range(40)]
    await asyncio.sleep(0.02)
    await engine.close()
    results = await asyncio.gather(*pending, return_exceptions=True)
    assert any(isinstance(result, EngineError) for result in results)
    with pytest.raises(EngineError, match="closed"):
        await engine.complete(ask("a"))
    await engine.close()


async def test_an_idle_worker_leaves_no_thread_and_works_again(
    engine: HfEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await engine.complete(ask("a"))
    thread = engine._worker._thread
    if thread is not None:  # it has not been idle for long enough yet
        await asyncio.to_thread(thread.join, 60)
        assert not thread.is_alive()
    assert engine._worker._thread is None
    assert await engine.complete(ask("a")) == first
    monkeypatch.setattr(worker, "_IDLE", 0.0)  # it ends between any two requests
    for _ in range(100):
        assert await engine.complete(ask("a", Sampling(1))) is not None
    many = await asyncio.gather(*(engine.complete(ask("a")) for _ in range(20)))
    assert many == [first] * 20


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_dead_worker_answers_with_errors(engine: HfEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies() -> None:
        raise MemoryError("gone")

    monkeypatch.setattr(engine._worker, "_admit", dies)
    for _ in range(2):
        with pytest.raises(EngineError, match="worker thread has died: MemoryError"):
            await engine.complete(ask("a"))


async def test_usage_counts(engine: HfEngine, chat: Chat) -> None:
    completion = await engine.complete(ask("count", Sampling(7, temperature=0.0)))
    tree = Node(ask("root ").messages, None, (question("one"), question("three")))
    await engine.score(tree)
    usage = engine.usage
    assert (usage.calls, usage.completion_tokens) == (2, completion.completion_tokens)
    root = len(chat.whole(ask("root ").messages, "continued").ids)
    opening = len(chat.encode(ask("root ").messages)) - root
    tree_tokens = root + len("one") + len("three") + 2 * opening
    assert usage.prompt_tokens == completion.prompt_tokens + tree_tokens
    assert usage.seconds_busy > 0


def test_the_spec_opens_it(tiny_model: Path) -> None:
    engine = open_spec(parse_spec(f"hf:{tiny_model}?dtype=float32&deterministic=true"))
    assert isinstance(engine, HfEngine)
    assert engine.identity.settings == (("deterministic", "true"), ("dtype", "float32"))
    asyncio.run(engine.close())


def test_the_revision_is_that_of_weights_and_tokenizer(changed_model: Callable[..., Path], tiny_model: Path) -> None:
    from critic.local.loading import revision

    copy = changed_model()
    (copy / "config.json").write_bytes((tiny_model / "config.json").read_bytes())
    assert revision(copy) == revision(tiny_model)
    with (copy / "model.safetensors").open("r+b") as weights:
        weights.seek(-1, 2)
        weights.write(b"\x7f")
    assert revision(copy) != revision(tiny_model)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"colour": "red"}, "unknown option 'colour'.*\n.*batch, device, dtype, row, deterministic"),
        ({"batch": "0"}, "batch=0"),
        ({"dtype": "int8"}, "bfloat16, float32"),
        ({"deterministic": "yes"}, "true, false"),
        ({"device": "toaster"}, "device=toaster can.t be used"),
    ],
)
def test_bad_options(options: dict[str, str], problem: str, tiny_model: Path) -> None:
    with pytest.raises(InputError, match=problem):
        open_engine(str(tiny_model), options)


@pytest.mark.parametrize("name", ["no-such-owner/no-such-model", "no/such/folder/at/all", "/no/such/folder"])
def test_a_model_that_is_nowhere(name: str) -> None:
    with pytest.raises(InputError, match="no such folder"):
        open_engine(name, {})


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be loaded"):
        open_engine(str(tmp_path), {})


def test_damaged_weights(changed_model: Callable[..., Path]) -> None:
    folder = changed_model()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(InputError, match="can't be loaded"):
        open_engine(str(folder), {})


def test_pickled_weights_are_not_read(changed_model: Callable[..., Path]) -> None:
    folder = changed_model()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="can't be loaded"):
        open_engine(str(folder), {})


async def test_the_context_is_the_models_not_its_windows(changed_model: Callable[..., Path]) -> None:
    async with opened(changed_model(model_type="mistral", sliding_window=64)) as engine:
        assert engine.capabilities["scoring"].startswith("packed")
        assert await engine.score(question("x" * 300))
        with pytest.raises(RequestTooLong, match="context is 512"):
            await engine.score(question("x" * 512))


async def test_own_tokens_of_a_response_are_summed(engine: HfEngine) -> None:
    """The sum over a text equals the sum of its parts, read one after the other down a path."""
    prompt = Message(role="user", content="p")
    parts = ["ab", "c", "def"]
    whole = Node((prompt,), None, (Node((Message(role="assistant", content="".join(parts)),), OwnTokens()),))
    nested = Node((Message(role="assistant", content=parts[2]),), OwnTokens())
    for text in (parts[1], parts[0]):
        nested = Node((Message(role="assistant", content=text),), OwnTokens(), (nested,))
    (one,) = await engine.score(whole)
    several = await engine.score(Node((prompt,), None, (nested,)))
    assert sum(score.values[0] for score in several) == pytest.approx(one.values[0], abs=1e-4)
    assert [score.tokens for score in several] == [2, 1, 3]

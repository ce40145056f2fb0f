"""The prefix tree against one prompt a vote: the same engine, model and texts, 8 pairs x 16 principles x 2 orders.

One prompt a vote is the engine at its best for separate prompts: many in one row without padding, and logits only at
the position that is read. The limit is the ratio of their tokens. Then how fast `contrast` trees are read, and how fast
answers are written, 16 at a time, against transformers' own ``generate``.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import exp

import torch
from transformers import AutoTokenizer, BatchEncoding

from benchmarks.figures import Measurement, alternate
from critic.chats.chat import Chat
from critic.chats.tokens import from_chats
from critic.engine import Choices, Completion, Node, OwnTokens, Request, Sampling, Score, reads
from critic.local import embedded
from critic.local.language_model import HfEngine, open_engine
from critic.local.loading import default_device, default_dtype, load
from critic.local.openmp import on_thread_that_ends
from critic.records import Message

TITLE = "Prefix tree"
PAIRS, PRINCIPLES, RUNS = 8, 16, 3
ANSWERS, NEW_TOKENS = 16, 64
SHORT = {"PAIRS": 4, "RUNS": 2}
WORDS = """
the a one some river garden letter winter bread window teacher music stone morning answer quiet bright small kind honest
quick careful old warm open walks keeps brings finds opens reads waits asks gives and but while because near under after
with for into slowly often never gladly
"""


def measure() -> list[Measurement]:
    """See the module's docstring."""
    dtype = str(default_dtype(default_device())).removeprefix("torch.")
    figures = []
    with opened(dtype) as engine:
        figures += judging(engine, dtype, PAIRS)
        figures += contrast(engine, dtype)
    figures += generation(dtype)
    other = "float32" if dtype == "bfloat16" else "bfloat16"
    with opened(other) as engine:
        figures += judging(engine, other, 1)
    return figures


def judge_tree(pair: int, swapped: bool) -> Node:
    """One transcript with two answers, and a question for every principle: about 276 + 16 x 57 tokens."""
    rng = random.Random(f"pair {pair}")
    prompt, *answers = (text(rng, words) for words in (73, 80, 80))
    first, second = reversed(answers) if swapped else answers
    root = f"{prompt}\n\nAnswer A:\n{first}\n\nAnswer B:\n{second}\n\n"
    questions = (f"Principle: {text(rng, 38)}\nWhich is better, A or B?" for _ in range(PRINCIPLES))
    return Node((user(root),), None, tuple(Node((user(question),), Choices(("A", "B"))) for question in questions))


def contrast_tree(pair: int) -> Node:
    """One prompt; under it every principle and its opposite; under each of these the same two answers."""
    rng = random.Random(f"contrast {pair}")
    answers = tuple(Node((Message(role="assistant", content=text(rng, 115)),), OwnTokens()) for _ in range(2))
    sides = (user("\n\n" + text(rng, 30)) for _ in range(2 * PRINCIPLES))
    return Node((user(text(rng, 80)),), None, tuple(Node((side,), None, answers) for side in sides))


def separately(trees: Sequence[Node]) -> list[Node]:
    """Return a tree for each read of ``trees``: its whole chat, with nothing shared but nothing else either."""
    chats = (read for tree in trees for read in reads(tree))
    return [
        Node(path, read) if isinstance(read, Choices) else Node(path[: len(path) - len(own)], None, (Node(own, read),))
        for path, read, own in chats
    ]


def judging(engine: HfEngine, dtype: str, pairs: int) -> list[Measurement]:
    """Votes a second on both sides, a run a pair in both orders; and how far their probabilities are apart."""
    shared = []
    for pair in range(pairs):
        shared.append([judge_tree(pair, swapped) for swapped in (False, True)])
    alone = [separately(trees) for trees in shared]
    limit = sum(map(tokens, alone)) / sum(map(tokens, shared))
    votes: dict[str, list[float]] = {"shared": [], "alone": []}

    def rate(side: str, pairs: Iterator[Sequence[Node]]) -> float:
        trees = next(pairs)
        started = time.perf_counter()
        read = scores(engine, trees)
        votes[side] += map(probability, read)
        return len(read) / (time.perf_counter() - started)

    ours, theirs = iter(shared), iter(alone)
    runs = alternate(lambda: rate("shared", ours), lambda: rate("alone", theirs), pairs)
    worst = max(abs(a - b) for a, b in zip(votes["shared"], votes["alone"], strict=True))
    allowed = 1e-3 if dtype == "float32" else 0.05
    apart = f"largest difference of a vote's probability ({dtype})"
    return [
        Measurement(f"prefix tree ({dtype})", runs.a, "votes/s"),
        Measurement(f"one prompt a vote ({dtype})", runs.b, "votes/s"),
        Measurement(
            f"prefix tree / one prompt a vote ({dtype})", runs.ratio, "x", 3.0, f"limit {limit:.2f}; {runs.spread}"
        ),
        Measurement(apart, worst, "", allowed, f"{len(votes['shared'])} votes", "at most"),
    ]


def contrast(engine: HfEngine, dtype: str) -> list[Measurement]:
    """Tokens a second through `contrast` trees, logits at nearly every token."""
    trees = [contrast_tree(0)]
    count = tokens(trees)
    saved = tokens(separately(trees)) / count
    rate = count / min(seconds(engine, trees) for _ in range(RUNS))
    return [
        Measurement(
            f"contrast trees ({dtype})", rate, "tokens/s", note=f"one chat each has {saved:.2f} times the tokens"
        )
    ]


def generation(dtype: str) -> list[Measurement]:
    """Write 16 answers, sampling at temperature 1, with the engine and with ``generate``.

    Each side has the processors' threads to itself: see `critic.local.openmp`.
    """
    rng = random.Random("generation")
    requests = [Request((user(text(rng, rng.randrange(40, 90))),), Sampling(NEW_TOKENS), i) for i in range(ANSWERS)]
    loaded = on_thread_that_ends(lambda: load(str(embedded.fetch()), getattr(torch, dtype), default_device(), "sdpa"))
    model, tokenizer = loaded.model, loaded.tokenizer
    tokenizer.padding_side = "left"
    chats = []
    for request in requests:
        chats.append([message.model_dump() for message in request.messages])
    prompts = tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )
    assert isinstance(prompts, BatchEncoding)
    prompts.to(model.device)

    def ours() -> float:
        with opened(dtype) as engine:
            started = time.perf_counter()
            done = asyncio.run(_complete(engine, requests))
            return sum(completion.completion_tokens for completion in done) / (time.perf_counter() - started)

    def theirs() -> float:
        started = time.perf_counter()
        out = model.generate(  # type: ignore[operator]  # its mixin is untyped
            **prompts, max_new_tokens=NEW_TOKENS, do_sample=True, top_k=0
        )
        written = out[:, prompts["input_ids"].shape[1] :] != tokenizer.pad_token_id
        return int(written.sum()) / (time.perf_counter() - started)

    runs = alternate(ours, lambda: on_thread_that_ends(theirs), RUNS)
    return [
        Measurement(f"writing, {ANSWERS} answers at a time ({dtype})", runs.a, "tokens/s", note="prompts included"),
        Measurement(f"transformers' generate ({dtype})", runs.b, "tokens/s", note="prompts included"),
        Measurement("writing / generate", runs.ratio, "x", 1.0, runs.spread),
    ]


@contextmanager
def opened(dtype: str) -> Iterator[HfEngine]:
    """The embedded model, warmed up."""
    engine = open_engine(str(embedded.fetch()), {"dtype": dtype})
    with closing(engine):
        yield engine


@contextmanager
def closing(engine: HfEngine) -> Iterator[None]:
    """Warm an engine up, and close it in the end."""
    try:
        scores(engine, [judge_tree(99, False)])
        yield
    finally:
        asyncio.run(engine.close())


def scores(engine: HfEngine, trees: Sequence[Node]) -> list[Score]:
    """Score all trees, asked for at once."""

    async def gather() -> list[tuple[Score, ...]]:
        return await asyncio.gather(*(engine.score(tree) for tree in trees))

    return [score for of_tree in asyncio.run(gather()) for score in of_tree]


async def _complete(engine: HfEngine, requests: Sequence[Request]) -> list[Completion]:
    return await asyncio.gather(*(engine.complete(request) for request in requests))


def seconds(engine: HfEngine, trees: Sequence[Node]) -> float:
    """How long scoring all trees takes."""
    started = time.perf_counter()
    scores(engine, trees)
    return time.perf_counter() - started


def tokens(trees: Sequence[Node]) -> int:
    """How many tokens the engine computes for ``trees``."""
    chat = Chat(AutoTokenizer.from_pretrained(embedded.fetch()), embedded.NAME)
    return sum(from_chats(tree, chat).tokens for tree in trees)


def probability(score: Score) -> float:
    """The probability of the first choice against the second."""
    first, second = score.values
    return 1 / (1 + exp(second - first))


def text(rng: random.Random, words: int) -> str:
    """Words without sense."""
    return " ".join(rng.choices(WORDS.split(), k=words))


def user(content: str) -> Message:
    """A user's message."""
    return Message(role="user", content=content)

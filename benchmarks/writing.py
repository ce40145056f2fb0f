"""Answers of different lengths: the `hf` engine, which they join and leave, against static batches with ``generate``.

128 answers of 16 to 256 tokens, drawn by a fixed seed; no side stops before. The static side takes 16 at a time, in
the order of the file, padded on the left, and each batch lasts as long as its longest answer. Both sample at
temperature 1 with the same weights, type and threads, which each side has to itself (see `critic.local.openmp`). The
limit is the ratio of the steps that each side needs.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from transformers import BatchEncoding

from benchmarks.figures import Measurement, alternate
from benchmarks.prefix_tree import text, user
from critic.engine import Request, Sampling
from critic.local import embedded
from critic.local.language_model import HfEngine
from critic.local.loading import Loaded, default_device, default_dtype, load
from critic.local.openmp import on_thread_that_ends
from critic.local.trees import attention

TITLE = "Writing answers of different lengths"
ANSWERS, SHORTEST, LONGEST, BATCH, RUNS = 128, 16, 256, 16, 2
SHORT = {"ANSWERS": 32, "LONGEST": 96}
TARGET = 1.3


def measure() -> list[Measurement]:
    """See the module's docstring."""
    return compare(embedded.fetch(), ANSWERS, SHORTEST, LONGEST, RUNS)


def compare(folder: Path, answers: int, shortest: int, longest: int, runs: int) -> list[Measurement]:
    """Write ``answers`` with both sides, ``runs`` times each."""
    rng = random.Random("writing")
    requests = [
        Request((user(text(rng, rng.randrange(40, 90))),), Sampling(rng.randint(shortest, longest)), i)
        for i in range(answers)
    ]
    lengths = [request.sampling.max_tokens for request in requests]
    static, loaded = (on_thread_that_ends(partial(endless, folder, name)) for name in ("sdpa", attention.NAME))

    def joining() -> float:
        with opened(loaded) as engine:
            join(engine, requests[:1])  # warmed up
            return join(engine, requests)

    def batches() -> float:
        in_batches(static, requests[:1])
        return in_batches(static, requests)

    measured = alternate(joining, lambda: on_thread_that_ends(batches), runs)
    steps, fewer = static_steps(lengths), joining_steps(lengths)
    limit = f"limit {steps / fewer:.2f}; {measured.spread}"
    dtype = str(static.model.dtype).removeprefix("torch.")
    return [
        Measurement(f"answers that join and leave ({dtype})", measured.a, "tokens/s", note=f"needs {fewer:,} steps"),
        Measurement(f"static batches of {BATCH} ({dtype})", measured.b, "tokens/s", note=f"needs {steps:,} steps"),
        Measurement("joining / static", measured.ratio, "x", TARGET, limit),
    ]


def endless(folder: Path, attention_name: str) -> Loaded:
    """Load the model, and let no token end an answer."""
    device = default_device()
    loaded = load(str(folder), default_dtype(device), device, attention_name)
    assert loaded.model.generation_config is not None
    loaded.model.generation_config.eos_token_id = None
    loaded.tokenizer.padding_side = "left"
    return loaded


@contextmanager
def opened(loaded: Loaded) -> Iterator[HfEngine]:
    """The engine around a model."""
    loaded.tokenizer.eos_token = None
    engine = on_thread_that_ends(lambda: HfEngine(loaded, "writing", BATCH))
    engine._worker._decoder._stop_ids = frozenset()  # nor does the end of a turn that the template writes
    try:
        yield engine
    finally:
        asyncio.run(engine.close())


def join(engine: HfEngine, requests: Sequence[Request]) -> float:
    """Write all answers with the engine; return tokens per second."""

    async def write() -> int:
        done = await asyncio.gather(*(engine.complete(request) for request in requests))
        return sum(completion.completion_tokens for completion in done)

    started = time.perf_counter()
    written = asyncio.run(write())
    return checked(written, requests) / (time.perf_counter() - started)


def in_batches(loaded: Loaded, requests: Sequence[Request]) -> float:
    """Write all answers in static batches; return tokens per second, of those that were asked for."""
    started = time.perf_counter()
    written = sum(batch(loaded, requests[i : i + BATCH]) for i in range(0, len(requests), BATCH))
    return checked(written, requests) / (time.perf_counter() - started)


def batch(loaded: Loaded, requests: Sequence[Request]) -> int:
    """Write one batch up to its longest answer; return how many tokens of it were asked for."""
    chats = []
    for request in requests:
        chats.append([message.model_dump() for message in request.messages])
    prompts = loaded.tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )
    assert isinstance(prompts, BatchEncoding)
    prompts.to(loaded.model.device)
    lengths = [request.sampling.max_tokens for request in requests]
    out = loaded.model.generate(  # type: ignore[operator]  # its mixin is untyped
        **prompts, max_new_tokens=max(lengths), do_sample=True, top_k=0
    )
    columns = out.shape[1] - prompts["input_ids"].shape[1]
    return sum(min(length, columns) for length in lengths)


def checked(written: int, requests: Sequence[Request]) -> int:
    """Return ``written``, which must be every token that was asked for."""
    wanted = sum(request.sampling.max_tokens for request in requests)
    if written != wanted:
        raise AssertionError(f"{written} tokens were written, not {wanted}")
    return written


def static_steps(lengths: Sequence[int]) -> int:
    """How many steps static batches take: each as many as its longest answer has tokens."""
    return sum(max(lengths[i : i + BATCH]) for i in range(0, len(lengths), BATCH))


def joining_steps(lengths: Sequence[int]) -> int:
    """How many steps it takes where the next answer begins as soon as one of `BATCH` places is free."""
    places = [0] * BATCH
    for length in lengths:
        places[places.index(min(places))] += length
    return max(places)

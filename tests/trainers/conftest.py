"""A tiny policy and a tiny reward model, in folders, and one thread for them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from .tiny import write_model


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute tiny models on one thread: on a busy machine, waiting for a second one takes most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny language model."""
    return write_model(tmp_path_factory.mktemp("models") / "policy")


@pytest.fixture(scope="session")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny reward model with one head."""
    return write_model(tmp_path_factory.mktemp("models") / "scorer", ("reward",))

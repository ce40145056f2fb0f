"""A server of typed decisions compares answers, and is no source of rewards: that is told before any is asked for."""

import pytest

from base.errors import InputError
from constitution import load
from service.rewards.rewards import source_of
from tests.critic.engines.typed.conftest import Opener
from tests.critic.engines.typed.pretended import DecisionServer


def test_it_is_refused_as_a_source_of_rewards(server: DecisionServer, opened: Opener) -> None:
    engine, constitution = opened(), load("harmlessness@1.1.0")
    with pytest.raises(InputError, match="gives no rewards by itself"):
        source_of(engine, None, None)
    with pytest.raises(InputError, match="gives no log-probabilities"):
        source_of(engine, constitution, None)
    assert server.asked == []

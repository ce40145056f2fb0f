"""Tables of results hold what records do."""

from critic.records import Vote
from critic.run.folder import tables


def test_a_vote_s_columns_are_its_fields() -> None:
    assert [field.name for field in tables._VOTE] == [*Vote.model_fields]

"""Many rows are stored as SQLAlchemy stores them one by one."""

from pathlib import Path

from sqlalchemy import Insert, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import make_url

from critic.feedback import ComparisonLabel, Feedback, Flag
from critic.messages import Message
from critic.records import Prompt, Response
from service.labels.labels import Origin, rows
from service.store.connecting import WRITES, thread_engine
from service.store.many import insert_many
from service.store.tables import feedback, items, metadata


def labels() -> list[Feedback]:
    answers = (
        Response(text="The Po.", model="a"),
        Response(text="Päris, \N{BLACK HEART SUIT}", model="b", reasoning="x"),
    )
    return [
        Feedback(
            kind="comparison",
            prompt=Prompt(messages=(Message(role="user", content=f"Name river {number}."),)),
            responses=answers,
            label=ComparisonLabel(
                choice="first" if number % 2 else "tie", outcome="preference" if number % 2 else "tie"
            ),
            source="human",
            seconds=number / 3 if number % 3 else None,
            flag=Flag(note="odd") if number % 4 == 0 else None,
        )
        for number in range(40)
    ]


def test_a_batch_is_stored_as_row_by_row(tmp_path: Path) -> None:
    _, stored = rows(labels(), Origin("key", shown=(1, 0)))
    kept = []
    for name, many in (("many", True), ("each", False)):
        engine = thread_engine(make_url(f"sqlite:///{tmp_path / name}.db"), WRITES)
        metadata.create_all(engine)
        with engine.begin() as connection:
            for table in (items, feedback, items):  # content that is there stays as it is
                insert: Insert = table.insert()
                if table is items:
                    insert = sqlite.insert(table).on_conflict_do_nothing()
                if many:
                    insert_many(connection, insert, stored[table])
                else:
                    for row in stored[table]:
                        connection.execute(insert, row)
            kept.append([connection.execute(select(table).order_by(table.c.id)).all() for table in (items, feedback)])
        engine.dispose()
    assert kept[0] == kept[1]
    assert [len(of_table) for of_table in kept[0]] == [40, 40]

"""Kinds of requests take turns: a page is answered beside any number of labels, and the other way round."""

import asyncio

from service.bounds.turns import LABELS, PAGES, Turns


async def test_one_kind_waits_for_itself_in_order_and_never_for_another() -> None:
    turns, done, goes_on = Turns(), [], asyncio.Event()

    async def labelled(number: int) -> None:
        async with turns.labels:
            await goes_on.wait()
            done.append(number)

    crowd = [asyncio.create_task(labelled(number)) for number in range(LABELS + 20)]
    await asyncio.sleep(0)
    assert turns.labels.locked()
    for _ in range(PAGES):
        await asyncio.wait_for(turns.pages.acquire(), 5)  # whatever the crowd does
    assert turns.pages.locked() and not turns.judged.locked()
    goes_on.set()
    await asyncio.gather(*crowd)
    assert done == list(range(LABELS + 20))


def test_each_server_has_turns_of_its_own() -> None:
    assert Turns().labels is not Turns().labels

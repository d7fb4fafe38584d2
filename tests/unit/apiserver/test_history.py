"""The record that watches are served from."""

from __future__ import annotations

import asyncio

import pytest

from swarmkeep.apiserver.history import Change, Expired, History
from swarmkeep.apiserver.keys import ObjectKey

WIDGETS, OTHERS = ("example.dev", "widgets"), ("example.dev", "others")


def change(revision: int, collection: tuple[str, str] = WIDGETS, size: int = 10) -> Change:
    raw = b'{"apiVersion":"v1","kind":"K","metadata":{"name":"%b"}}' % (b"x" * size)
    return Change("MODIFIED", ObjectKey(collection, "default", "w"), revision, raw, None)


async def revisions(history: History, after: int, count: int, limit: int = 500) -> list[int]:
    subscription = history.subscribe(WIDGETS, after)
    found: list[int] = []
    while len(found) < count:
        changes = await asyncio.wait_for(subscription.next(limit), 1)
        assert changes
        assert len(changes) <= limit
        found += [change.revision for change in changes]
    subscription.close()
    return found


@pytest.mark.parametrize("after", range(1, 11))
@pytest.mark.parametrize("limit", [1, 3, 500])
async def test_every_reader_gets_what_came_after_its_place(after: int, limit: int) -> None:
    history = History()
    for revision in range(1, 11):
        history.append(change(revision))
    expected = list(range(after + 1, 11))
    assert await revisions(history, after, len(expected), limit) == expected


async def test_a_reader_waits_for_what_comes() -> None:
    history = History()
    subscription = history.subscribe(WIDGETS, 0)
    reading = asyncio.create_task(subscription.next())
    await asyncio.sleep(0)
    history.append(change(1, OTHERS))
    await asyncio.sleep(0.01)
    assert not reading.done()
    history.append(change(2))
    assert [found.revision for found in await asyncio.wait_for(reading, 1) or []] == [2]
    assert subscription.catch_up() == 2


async def test_what_a_reader_has_seen_before_this_server_started_is_not_told_again() -> None:
    history = History()
    subscription = history.subscribe(WIDGETS, 3)
    for revision in range(1, 6):
        history.append(change(revision))
    assert [found.revision for found in await asyncio.wait_for(subscription.next(), 1) or []] == [4, 5]


async def test_changes_of_one_revision_may_come_in_two_parts() -> None:
    history = History()
    subscription = history.subscribe(WIDGETS, 0)
    for _ in range(3):
        history.append(change(1))
    parts = [await asyncio.wait_for(subscription.next(2), 1) for _ in range(2)]
    assert [len(part or []) for part in parts] == [2, 1]


async def test_memory_is_bounded_and_who_is_too_slow_is_told() -> None:
    history = History(limit_bytes=20_000)
    slow = history.subscribe(WIDGETS, 0)
    for revision in range(1, 200):
        history.append(change(revision, size=1000))
        assert history.bytes <= 20_000
    with pytest.raises(Expired):
        await slow.next()
    with pytest.raises(Expired):
        history.subscribe(WIDGETS, 100)
    assert await revisions(history, 195, 4) == [196, 197, 198, 199]


async def test_a_busy_kind_does_not_make_a_quiet_one_forget() -> None:
    history = History(limit_bytes=20_000)
    for revision in range(1, 200):
        history.append(change(revision, OTHERS, size=1000))
    history.append(change(200))
    assert await revisions(history, 1, 1) == [200], "nothing of this kind was forgotten since"


async def test_a_larger_change_than_all_memory_is_still_told() -> None:
    history = History(limit_bytes=100)
    history.append(change(1, size=1000))
    assert await revisions(history, 0, 1) == [1]


async def test_a_gap_is_told_to_those_who_wait_and_to_those_who_come() -> None:
    history = History()
    history.append(change(1))
    caught_up, waiting = history.subscribe(WIDGETS, 1), history.subscribe(WIDGETS, 1)
    reading = asyncio.create_task(waiting.next())
    await asyncio.sleep(0)
    history.restart(begins_after=50)
    history.append(change(51))
    for pending in (reading, caught_up.next(), history_of(history, 49)):
        with pytest.raises(Expired):
            await pending
    assert await revisions(history, 50, 1) == [51]


async def history_of(history: History, after: int) -> object:
    return history.subscribe(WIDGETS, after)


async def test_closing_ends_all_readers() -> None:
    history = History()
    subscription = history.subscribe(WIDGETS, 0)
    reading = asyncio.create_task(subscription.next())
    await asyncio.sleep(0)
    history.close()
    assert await asyncio.wait_for(reading, 1) is None


async def test_only_the_newest_changes_keep_their_decoded_form() -> None:
    history = History()
    changes = [change(revision) for revision in range(1, 400)]
    for one in changes:
        history.append(one)
        one.obj()
        one.line()
    assert sum(one._obj is not None for one in changes) < 300
    assert changes[0].obj()["metadata"]["resourceVersion"] == "1"

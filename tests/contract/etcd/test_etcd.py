"""What port.py promises."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from swarmkeep.etcd.failures import Compacted, FutureRevision, LeaseGone, RequestTooLarge
from swarmkeep.etcd.port import Etcd
from swarmkeep.etcd.records import Compare, Delete, EventType, Get, Put, WatchEvent


async def put(etcd: Etcd, key: str, value: bytes, lease: int = 0) -> int:
    return (await etcd.txn([], [Put(key, value, lease)])).revision


async def first_events(etcd: Etcd, prefix: str, start_revision: int, count: int) -> list[WatchEvent]:
    seen: list[WatchEvent] = []
    async with asyncio.timeout(10), aclosing(etcd.watch(prefix, start_revision=start_revision)) as batches:
        async for events in batches:
            seen += events
            if len(seen) >= count:
                return seen
    raise AssertionError("the watch ended")


async def test_what_was_put_is_read_with_its_revisions(etcd: Etcd, folder: str) -> None:
    first = await put(etcd, f"{folder}a", b"1")
    second = await put(etcd, f"{folder}a", b"2")
    found = await etcd.get(f"{folder}a")
    assert found is not None
    assert (found.value, found.create_revision, found.mod_revision) == (b"2", first, second)
    assert await etcd.get(f"{folder}b") is None


async def test_any_bytes_are_kept(etcd: Etcd, folder: str) -> None:
    await put(etcd, f"{folder}é", bytes(range(256)))
    found = await etcd.get(f"{folder}é")
    assert found is not None
    assert found.value == bytes(range(256))


async def test_a_range_is_in_order_and_stays_below_its_prefix(etcd: Etcd, folder: str) -> None:
    for name in ("b", "a", "c/d", "c"):
        await put(etcd, folder + name, b"x")
    await put(etcd, folder[:-1] + "0", b"a neighbour")
    found = await etcd.range(folder)
    assert [item.key for item in found.items] == [f"{folder}{name}" for name in ("a", "b", "c", "c/d")]
    assert (found.count, found.more) == (4, False)


async def test_a_range_can_be_read_in_pages_of_one_instant(etcd: Etcd, folder: str) -> None:
    for name in "abcd":
        await put(etcd, folder + name, b"old")
    first = await etcd.range(folder, limit=2)
    await put(etcd, f"{folder}c", b"new")
    await etcd.txn([], [Delete(f"{folder}d")])
    await put(etcd, f"{folder}bb", b"new")
    second = await etcd.range(folder, limit=2, revision=first.revision, start=f"{first.items[-1].key}\x00")
    assert [(item.key[-1], item.value) for item in second.items] == [("c", b"old"), ("d", b"old")]
    assert (first.more, first.count, second.more, second.count) == (True, 4, False, 2)


async def test_keys_can_be_read_without_values(etcd: Etcd, folder: str) -> None:
    revision = await put(etcd, f"{folder}a", b"1")
    found = await etcd.range(folder, keys_only=True)
    assert [(item.value, item.mod_revision) for item in found.items] == [(b"", revision)]


async def test_only_one_of_two_creators_succeeds(etcd: Etcd, folder: str) -> None:
    key = f"{folder}a"
    results = await asyncio.gather(
        *(etcd.txn([Compare(key, "mod", 0)], [Put(key, b"%d" % n)], [Get(key)]) for n in range(8))
    )
    winners = [result for result in results if result.succeeded]
    assert len(winners) == 1
    found = await etcd.get(key)
    assert found is not None
    for loser in (result for result in results if not result.succeeded):
        assert loser.answers == (found,)


async def test_a_failed_compare_changes_nothing_and_tells_what_is_there(etcd: Etcd, folder: str) -> None:
    key, other = f"{folder}a", f"{folder}b"
    revision = await put(etcd, key, b"1")
    result = await etcd.txn(
        [Compare(key, "mod", revision), Compare(other, "create", 17)], [Delete(key)], [Get(key), Get(other)]
    )
    assert not result.succeeded
    assert [found and found.value for found in result.answers] == [b"1", None]


async def test_create_revision_tells_a_new_key_from_a_changed_one(etcd: Etcd, folder: str) -> None:
    key = f"{folder}a"
    created = await put(etcd, key, b"1")
    await put(etcd, key, b"2")
    assert (await etcd.txn([Compare(key, "create", created)], [Delete(key)])).succeeded
    await put(etcd, key, b"3")
    assert not (await etcd.txn([Compare(key, "create", created)], [Delete(key)])).succeeded


async def test_operations_of_a_transaction_share_a_revision(etcd: Etcd, folder: str) -> None:
    result = await etcd.txn([], [Put(f"{folder}a", b"1"), Put(f"{folder}b", b"2")])
    found = await etcd.range(folder)
    assert {item.mod_revision for item in found.items} == {result.revision}


async def test_a_transaction_without_operations_checks_only(etcd: Etcd, folder: str) -> None:
    before = (await etcd.range(folder)).revision
    assert (await etcd.txn([Compare(f"{folder}a", "mod", 0)], [])).succeeded
    assert (await etcd.range(folder)).revision == before


async def test_a_watch_tells_what_was_and_what_comes(etcd: Etcd, folder: str) -> None:
    key = f"{folder}a"
    start = await put(etcd, key, b"1")
    await put(etcd, key, b"2")
    watching = asyncio.create_task(first_events(etcd, folder, start, 4))
    await asyncio.sleep(0.1)
    await put(etcd, f"{folder[:-1]}-not-below", b"x")
    deleted = (await etcd.txn([], [Delete(key)])).revision
    await put(etcd, key, b"3")
    created, changed, gone, again = await watching
    assert (created.type, created.current.value, created.previous) == (EventType.PUT, b"1", None)
    assert created.current.create_revision == created.current.mod_revision == start
    assert changed.previous is not None
    assert (changed.current.value, changed.previous.value) == (b"2", b"1")
    assert gone.previous is not None
    assert (gone.type, gone.current.mod_revision, gone.previous.value) == (EventType.DELETE, deleted, b"2")
    assert again.current.create_revision == again.current.mod_revision > deleted


async def test_a_watch_begins_where_it_is_told(etcd: Etcd, folder: str) -> None:
    await put(etcd, f"{folder}a", b"1")
    second = await put(etcd, f"{folder}a", b"2")
    events = await first_events(etcd, folder, second, 1)
    assert [event.current.value for event in events] == [b"2"]


async def test_what_is_compacted_can_neither_be_read_nor_watched(etcd: Etcd, folder: str) -> None:
    first = await put(etcd, f"{folder}a", b"1")
    await put(etcd, f"{folder}a", b"2")
    last = await put(etcd, f"{folder}a", b"3")
    await etcd.compact(last - 1)
    await etcd.compact(last - 1)
    with pytest.raises(Compacted):
        await etcd.range(folder, revision=first)
    with pytest.raises(Compacted) as caught:
        await first_events(etcd, folder, first, 1)
    events = await first_events(etcd, folder, caught.value.revision + 1, 1)
    assert [event.current.value for event in events] == [b"3"]


async def test_what_has_not_been_yet_cannot_be_read(etcd: Etcd, folder: str) -> None:
    last = await put(etcd, f"{folder}a", b"1")
    with pytest.raises(FutureRevision):
        await etcd.range(folder, revision=last + 1000)


async def test_keys_go_with_their_lease(etcd: Etcd, folder: str) -> None:
    lease = await etcd.lease_grant(60)
    await put(etcd, f"{folder}a", b"1", lease)
    found = await etcd.get(f"{folder}a")
    assert found is not None
    assert found.lease == lease
    assert await etcd.lease_keepalive(lease) == 60
    await etcd.lease_revoke(lease)
    await etcd.lease_revoke(lease)
    assert await etcd.get(f"{folder}a") is None
    assert await etcd.lease_keepalive(lease) == 0
    with pytest.raises(LeaseGone):
        await put(etcd, f"{folder}a", b"1", lease)


async def test_a_lease_that_is_not_kept_alive_runs_out(etcd: Etcd, folder: str) -> None:
    lease = await etcd.lease_grant(2)  # etcd takes no less
    revision = await put(etcd, f"{folder}a", b"1", lease)
    events = await first_events(etcd, folder, revision + 1, 1)
    assert events[0].type is EventType.DELETE
    assert await etcd.lease_keepalive(lease) == 0


async def test_a_value_that_is_too_large_is_refused(etcd: Etcd, folder: str) -> None:
    with pytest.raises(RequestTooLarge):
        await put(etcd, f"{folder}a", b"x" * 2_000_000)
    assert await etcd.get(f"{folder}a") is None

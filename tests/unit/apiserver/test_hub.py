"""The hub follows etcd through outages and compactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from swarmkeep.apiserver import hub as hub_module
from swarmkeep.apiserver.history import Expired, History
from swarmkeep.apiserver.hub import Hub
from swarmkeep.apiserver.namespaces import Namespaces, ensure_permanent
from swarmkeep.etcd.memory import MemoryEtcd
from swarmkeep.etcd.records import Delete, Put

KEY = "/registry/example.dev/widgets/default/w"
WIDGETS = ("example.dev", "widgets")
RAW = b'{"apiVersion":"example.dev/v1","kind":"Widget","metadata":{"name":"w"}}'


async def put(etcd: MemoryEtcd) -> int:
    return (await etcd.txn([], [Put(KEY, RAW)])).revision


@asynccontextmanager
async def following(etcd: MemoryEtcd, *, wait: bool = True) -> AsyncIterator[tuple[Hub, History, Namespaces]]:
    history, namespaces = History(), Namespaces()
    hub = Hub(etcd, history, [namespaces])
    task = asyncio.create_task(hub.run())
    if wait:
        await asyncio.wait_for(hub.ready.wait(), 5)
    try:
        yield hub, history, namespaces
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def types(history: History, after: int, count: int) -> list[str]:
    subscription = history.subscribe(WIDGETS, after)
    found: list[str] = []
    while len(found) < count:
        found += [change.type for change in await asyncio.wait_for(subscription.next(), 5) or []]
    subscription.close()
    return found


async def test_changes_before_its_start_can_be_resumed_from() -> None:
    etcd = MemoryEtcd()
    start = etcd.revision
    for _ in range(2):
        await put(etcd)
    await etcd.txn([], [Delete(KEY)])
    await put(etcd)
    async with following(etcd) as (_, history, _namespaces):
        assert await types(history, start, 4) == ["ADDED", "MODIFIED", "DELETED", "ADDED"]


async def test_only_so_much_is_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "REPLAYED_REVISIONS", 3)
    etcd = MemoryEtcd()
    for _ in range(10):
        await put(etcd)
    async with following(etcd) as (_, history, _namespaces):
        with pytest.raises(Expired):
            history.subscribe(WIDGETS, etcd.revision - 4)
        assert await types(history, etcd.revision - 3, 3) == ["MODIFIED"] * 3


async def test_what_is_compacted_is_not_read_back() -> None:
    etcd = MemoryEtcd()
    for _ in range(5):
        await put(etcd)
    await etcd.compact(etcd.revision - 1)
    async with following(etcd) as (_, history, _namespaces):
        with pytest.raises(Expired):
            history.subscribe(WIDGETS, 1)
        assert await types(history, etcd.revision - 1, 1) == ["MODIFIED"]


async def test_etcd_may_come_later() -> None:
    etcd = MemoryEtcd()
    etcd.down = True
    async with following(etcd, wait=False) as (hub, _, namespaces):
        await asyncio.sleep(0.1)
        assert not hub.ready.is_set()
        etcd.down = False
        await ensure_permanent(etcd)
        await asyncio.wait_for(hub.ready.wait(), 5)
        guard = await namespaces.guard(etcd, "default", fresh=False)
        assert guard.compare.revision > 0


async def test_views_see_what_happens() -> None:
    etcd = MemoryEtcd()
    await ensure_permanent(etcd)
    async with following(etcd) as (_, history, namespaces):
        raw = b'{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n","deletionTimestamp":"x"}}'
        await etcd.txn([], [Put("/registry/core/namespaces/n", raw)])
        await put(etcd)
        await types(history, etcd.revision - 1, 1)
        assert namespaces.terminating() == ["n"]
        await etcd.txn([], [Delete("/registry/core/namespaces/n")])
        await put(etcd)
        await types(history, etcd.revision - 1, 1)
        assert namespaces.terminating() == []


async def test_foreign_keys_are_no_objects() -> None:
    etcd = MemoryEtcd()
    async with following(etcd) as (_, history, _namespaces):
        await etcd.txn([], [Put("/registry/odd", b"?"), Put("/registry/a/b/c/d/e", b"?")])
        await put(etcd)
        assert await types(history, 1, 1) == ["ADDED"]

"""etcd's history is dropped after a while, and not before."""

from __future__ import annotations

import asyncio

import pytest

from swarmkeep.apiserver.compaction import compact
from swarmkeep.etcd.failures import Compacted
from swarmkeep.etcd.memory import MemoryEtcd
from swarmkeep.etcd.records import Put


async def put(etcd: MemoryEtcd) -> int:
    return (await etcd.txn([], [Put("/registry/core/x/y", b"{}")])).revision


async def test_history_is_kept_for_its_time_and_then_dropped() -> None:
    etcd = MemoryEtcd()
    first = await put(etcd)
    second = await put(etcd)
    task = asyncio.create_task(compact(etcd, kept_s=0.3, interval_s=0.05))
    await asyncio.sleep(0.15)
    newest = await put(etcd)
    await etcd.range("/registry/", revision=first)
    async with asyncio.timeout(5):
        while True:
            try:
                await etcd.range("/registry/", revision=first)
            except Compacted:
                break
            await asyncio.sleep(0.02)
    await etcd.range("/registry/", revision=second)
    assert (await etcd.range("/registry/", revision=newest)).count == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_etcd_that_is_away_is_waited_for() -> None:
    etcd = MemoryEtcd()
    first = await put(etcd)
    await put(etcd)
    etcd.down = True
    task = asyncio.create_task(compact(etcd, kept_s=0.05, interval_s=0.05))
    await asyncio.sleep(0.2)
    assert not task.done()
    etcd.down = False
    await asyncio.sleep(0.3)
    with pytest.raises(Compacted):
        await etcd.range("/registry/", revision=first)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

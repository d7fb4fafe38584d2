"""Leader election, over a real etcd and over its twin."""

from __future__ import annotations

import asyncio

import pytest

from swarmkeep.etcd.election import Election, fence_key
from swarmkeep.etcd.port import Etcd
from swarmkeep.etcd.records import Delete, Put

TTL_S = 2.0


@pytest.fixture
def name(folder: str) -> str:
    return folder.strip("/").replace("/", "-")


async def test_one_leads_and_the_next_takes_over_when_it_resigns(etcd: Etcd, name: str) -> None:
    first, second = Election(etcd, name, "first", TTL_S), Election(etcd, name, "second", TTL_S)
    token = await asyncio.wait_for(first.campaign(), 5)
    waiting = asyncio.create_task(second.campaign())
    await asyncio.sleep(TTL_S * 1.5)
    assert not waiting.done(), "the leader renews its lease, so nobody else may lead"
    assert not first.lost.is_set()
    await first.resign()
    assert await asyncio.wait_for(waiting, 1) > token
    assert first.lost.is_set()
    await second.resign()


async def test_the_token_fences(etcd: Etcd, name: str) -> None:
    first = Election(etcd, name, "first", TTL_S)
    await first.campaign()
    fence = first.compare()
    assert (await etcd.txn([fence], [Put(f"/test/{name}", b"1")])).succeeded
    await first.resign()
    assert not (await etcd.txn([fence], [Put(f"/test/{name}", b"2")])).succeeded
    second = Election(etcd, name, "second", TTL_S)
    await second.campaign()
    assert not (await etcd.txn([fence], [Put(f"/test/{name}", b"2")])).succeeded
    assert (await etcd.txn([second.compare()], [Put(f"/test/{name}", b"3")])).succeeded
    await second.resign()
    with pytest.raises(RuntimeError):
        second.compare()


async def test_a_leader_whose_key_was_removed_notices(etcd: Etcd, name: str) -> None:
    leader = Election(etcd, name, "leader", TTL_S)
    await leader.campaign()
    await etcd.txn([], [Delete(fence_key(name))])
    await asyncio.wait_for(leader.lost.wait(), TTL_S)
    assert leader.token is None
    await leader.resign()

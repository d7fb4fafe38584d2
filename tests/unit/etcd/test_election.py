"""A leader that cannot renew its lease stops before anybody else can lead."""

from __future__ import annotations

import asyncio
import time

import pytest

from swarmkeep.etcd.election import Election, Timing, timing_for
from swarmkeep.etcd.memory import MemoryEtcd


@pytest.mark.parametrize("ttl", [2, 5, 15, 60])
def test_the_timing_leaves_room_for_a_failed_renewal(ttl: float) -> None:
    timing = timing_for(ttl)
    assert timing.renew + 2 * timing.timeout + timing.grace < ttl


def test_a_timing_with_which_two_could_lead_is_refused() -> None:
    with pytest.raises(ValueError, match="less than ttl"):
        Timing(ttl=5, renew=2, timeout=1, grace=1)


async def test_a_leader_without_etcd_gives_up_before_its_lease_ends() -> None:
    etcd = MemoryEtcd()
    leader = Election(etcd, "x", "leader", 2.0)
    await leader.campaign()
    await asyncio.sleep(1.0)
    etcd.down = True
    started = time.monotonic()
    await asyncio.wait_for(leader.lost.wait(), 2.0)
    # The last renewal was sent at most renew + timeout before; the grace is kept free.
    assert time.monotonic() - started <= 2.0 - timing_for(2.0).grace + 0.1
    assert leader.token is None
    await leader.resign()


async def test_a_short_silence_of_etcd_changes_nothing() -> None:
    etcd = MemoryEtcd()
    leader = Election(etcd, "x", "leader", 2.0)
    token = await leader.campaign()
    etcd.down = True
    await asyncio.sleep(0.7)
    etcd.down = False
    await asyncio.sleep(2.0)
    assert not leader.lost.is_set()
    assert leader.token == token
    await leader.resign()


async def test_a_candidate_waits_for_etcd() -> None:
    etcd = MemoryEtcd()
    etcd.down = True
    candidate = Election(etcd, "x", "candidate", 2.0)
    campaign = asyncio.create_task(candidate.campaign())
    await asyncio.sleep(0.2)
    assert not campaign.done()
    etcd.down = False
    assert await asyncio.wait_for(campaign, 2)
    await candidate.resign()


async def test_an_answer_that_was_lost_does_not_lose_the_election() -> None:
    etcd = MemoryEtcd()
    etcd.lose_answers = 1
    candidate = Election(etcd, "x", "candidate", 2.0)
    token = await asyncio.wait_for(candidate.campaign(), 2)
    found = await etcd.get("/swarmkeep/election/x")
    assert found is not None
    assert found.create_revision == token
    await candidate.resign()

"""A cluster of three loses a member: calls and watches go on with the others."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from swarmkeep.etcd.client import Client
from swarmkeep.etcd.election import Election
from swarmkeep.etcd.failures import EtcdOutcomeUnknown, EtcdUnavailable
from swarmkeep.etcd.records import Put

from ...etcd_cluster import EtcdMember, etcd_cluster, free_ports

pytestmark = pytest.mark.etcd


@pytest.fixture
def members(tmp_path: Path) -> Iterator[list[EtcdMember]]:
    with etcd_cluster(tmp_path, 3) as running:
        yield running


@pytest.fixture
async def client(members: list[EtcdMember]) -> AsyncIterator[Client]:
    client = Client([member.endpoint for member in members])
    yield client
    await client.close()


class Watcher:
    """Collects the values that a watch brings."""

    def __init__(self, client: Client) -> None:
        self.values: list[bytes] = []
        self._client = client
        self._arrived = asyncio.Event()
        self._task = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        async with aclosing(self._client.watch("/w/", start_revision=1)) as batches:
            async for events in batches:
                self.values += [event.current.value for event in events]
                self._arrived.set()

    async def until(self, value: bytes) -> None:
        async with asyncio.timeout(15):
            while value not in self.values:
                self._arrived.clear()
                await self._arrived.wait()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def watcher(client: Client) -> AsyncIterator[Watcher]:
    watcher = Watcher(client)
    yield watcher
    await watcher.stop()


async def put(client: Client, value: bytes) -> float:
    """Seconds that it took."""
    started = time.monotonic()
    await client.txn([], [Put("/w/key", value)])
    return time.monotonic() - started


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("victim", [0, 1, 2])
async def test_one_member_less_is_a_short_wait(
    members: list[EtcdMember], client: Client, watcher: Watcher, victim: int, how: signal.Signals
) -> None:
    await put(client, b"before")
    await watcher.until(b"before")
    members[victim].send(how)
    assert await put(client, b"after") < 5
    await watcher.until(b"after")
    assert await put(client, b"later") < 1.6
    await watcher.until(b"later")
    assert watcher.values == sorted(set(watcher.values), key=[b"before", b"after", b"later"].index), "each exactly once"
    members[victim].send(signal.SIGCONT if how is signal.SIGSTOP else how)


async def test_without_a_majority_calls_fail_in_time_and_recover(
    members: list[EtcdMember], client: Client, watcher: Watcher
) -> None:
    await put(client, b"before")
    for member in members[:2]:
        member.kill()
    started = time.monotonic()
    with pytest.raises(EtcdUnavailable):
        await client.get("/w/key")
    assert time.monotonic() - started < 6
    for member in members[:2]:
        member.start()
    for member in members:
        member.wait_until_healthy()
    await put(client, b"after")
    await watcher.until(b"after")


async def test_a_leader_stays_when_a_member_dies(members: list[EtcdMember], client: Client) -> None:
    leader = Election(client, "x", "leader", 5.0)
    token = await leader.campaign()
    members[0].kill()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(leader.lost.wait(), 7)
    assert leader.token == token
    await leader.resign()


async def test_a_write_whose_answer_was_lost_may_have_been_carried_out(members: list[EtcdMember]) -> None:
    client = Client([member.endpoint for member in members], timeout=2.0)
    await put(client, b"before")
    for member in members:
        member.send(signal.SIGSTOP)
    with pytest.raises(EtcdOutcomeUnknown):
        await put(client, b"after")
    for member in members:
        member.send(signal.SIGCONT)
    await client.close()


async def test_a_write_that_reached_nobody_was_not_carried_out() -> None:
    client = Client([f"127.0.0.1:{port}" for port in free_ports(3)], timeout=1.0)
    with pytest.raises(EtcdUnavailable) as caught:
        await put(client, b"x")
    assert not isinstance(caught.value, EtcdOutcomeUnknown)
    await client.close()


async def test_nobody_at_all_is_said_in_time() -> None:
    client = Client([f"127.0.0.1:{port}" for port in free_ports(3)], timeout=1.0)
    started = time.monotonic()
    with pytest.raises(EtcdUnavailable, match="reading"):
        await client.get("/w/key")
    assert time.monotonic() - started < 1.5
    await client.close()

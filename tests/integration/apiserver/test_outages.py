"""What clients notice when servers and etcd members die: at most a retry."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from swarmkeep.errors import Conflict, Unavailable
from swarmkeep.kube.client import Client
from swarmkeep.model.kinds import LOCATION, NODE

from ...etcd_cluster import EtcdMember
from .. import servers
from ..servers import ApiServer
from .conftest import Start

pytestmark = pytest.mark.etcd


@asynccontextmanager
async def client_of(*running: ApiServer, timeout_s: float = 10.0) -> AsyncIterator[Client]:
    client = Client([server.url for server in running], running[0].pki.client_tls(), timeout_s=timeout_s)
    try:
        yield client
    finally:
        await client.close()


def location(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"filesystem": {"path": f"/shared/{name}"}}}


class Seen:
    """Names in the order in which one watch stream brought them."""

    def __init__(self, client: Client, version: str) -> None:
        self.names: list[str] = []
        self.ended = False
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._collect(client, version))

    async def _collect(self, client: Client, version: str) -> None:
        async with aclosing(client.watch(LOCATION, resource_version=version)) as events:
            async for event in events:
                self.names.append(event.object["metadata"]["name"])
                self._changed.set()
        self.ended = True
        self._changed.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.names) < count and not self.ended:
                self._changed.clear()
                await self._changed.wait()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_a_watch_stream_outlives_a_restart_of_etcd(start: Start, one_member: list[EtcdMember]) -> None:
    server = start(one_member, "a")
    async with client_of(server) as client:
        await client.create(LOCATION, location("before"))
        seen = Seen(client, (await client.list(LOCATION)).resource_version)
        await client.create(LOCATION, location("one"))
        await seen.until(1)
        one_member[0].kill()
        with pytest.raises(Unavailable):
            await client.list(LOCATION)
        one_member[0].start()
        await client.create(LOCATION, location("two"))
        await seen.until(2)
        assert seen.names == ["one", "two"]
        assert [item["metadata"]["name"] for item in (await client.list(LOCATION)).items] == ["before", "one", "two"]
        await seen.stop()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_one_of_three_members_is_not_missed(
    start: Start, three_members: list[EtcdMember], how: signal.Signals
) -> None:
    server = start(three_members, "a")
    async with client_of(server, timeout_s=10) as client:
        seen = Seen(client, (await client.list(LOCATION)).resource_version)
        longest = 0.0
        for number in range(30):
            if number == 10:
                three_members[0].send(how)  # the one that the server talks to
            started = time.monotonic()
            await client.create(LOCATION, location(f"l{number:02}"))
            longest = max(longest, time.monotonic() - started)
        await seen.until(30)
        assert seen.names == [f"l{number:02}" for number in range(30)], "nothing lost, nothing twice"
        assert longest < 5
        await seen.stop()
        if how is signal.SIGSTOP:
            three_members[0].send(signal.SIGCONT)


async def test_clients_go_on_with_another_server(start: Start, one_member: list[EtcdMember]) -> None:
    first, second = start(one_member, "a"), start(one_member, "b")
    async with client_of(first, second) as client:
        made = await client.create(LOCATION, location("one"))
        first.kill()
        patch = {"spec": {"filesystem": {"path": "/elsewhere"}}}
        changed = await client.patch(LOCATION, "one", patch)
        assert changed["metadata"]["uid"] == made["metadata"]["uid"]
        assert int(changed["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


async def test_a_watch_goes_on_at_another_server_and_after_a_restart(
    start: Start, one_member: list[EtcdMember]
) -> None:
    first, second = start(one_member, "a"), start(one_member, "b")
    async with client_of(first) as one, client_of(second) as other:
        version = (await one.list(LOCATION)).resource_version
        for name in ("one", "two"):
            await one.create(LOCATION, location(name))
        elsewhere = Seen(other, version)
        await elsewhere.until(2)
        first.stop()
        first.start()
        again = Seen(one, version)
        await again.until(2)
        assert elsewhere.names == again.names == ["one", "two"]
        await elsewhere.stop()
        await again.stop()


async def test_objects_are_the_same_to_the_letter_after_a_restart(start: Start, one_member: list[EtcdMember]) -> None:
    server = start(one_member, "a")
    async with client_of(server) as client:
        for name in ("one", "two"):
            await client.create(LOCATION, location(name))
            await client.patch(LOCATION, name, {"status": {"versions": 3}}, subresource="status")
        before = (await client.list(LOCATION)).items
        server.kill()
        server.start()
        after = (await client.list(LOCATION)).items
    assert after == before
    assert [item["status"]["versions"] for item in after] == [3, 3]


async def test_servers_agree_under_contention(start: Start, one_member: list[EtcdMember]) -> None:
    running = [start(one_member, name) for name in ("a", "b", "c")]
    async with client_of(running[0]) as a, client_of(running[1]) as b, client_of(running[2]) as c:
        clients = (a, b, c)
        version = (await a.list(LOCATION)).resource_version
        watchers = [Seen(client, version) for client in clients]
        outcomes = await asyncio.gather(
            *(client.create(LOCATION, location(f"l{n}")) for n in range(10) for client in clients),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, dict) for outcome in outcomes) == 10
        assert all(isinstance(outcome, dict | Conflict) for outcome in outcomes)
        patches = [
            client.patch(LOCATION, "l0", {"metadata": {"annotations": {f"k{n}-{index}": "x"}}})
            for n in range(10)
            for index, client in enumerate(clients)
        ]
        await asyncio.gather(*patches)
        for client in clients:
            assert len((await client.get(LOCATION, "l0"))["metadata"]["annotations"]) == 30
        for watcher in watchers:
            await watcher.until(40)
        assert watchers[0].names == watchers[1].names == watchers[2].names
        for watcher in watchers:
            await watcher.stop()


async def test_a_server_stops_within_seconds_and_ends_its_streams(start: Start, one_member: list[EtcdMember]) -> None:
    server = start(one_member, "a")
    async with client_of(server) as client:
        seen = Seen(client, (await client.list(LOCATION)).resource_version)
        await client.create(LOCATION, location("one"))
        await seen.until(1)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 5
        await seen.until(2)
        assert seen.ended


async def test_a_server_waits_for_etcd_and_says_so(
    start: Start, one_member: list[EtcdMember], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(one_member, "a")
    server.stop()
    one_member[0].kill()
    monkeypatch.setattr(servers, "START_S", 15)
    with pytest.raises(AssertionError, match="waiting for etcd"):
        await asyncio.to_thread(server.start)  # it answers, but never becomes ready
    async with client_of(server, timeout_s=2) as client:
        with pytest.raises(Unavailable):
            await client.list(LOCATION)
        one_member[0].start()
        async with asyncio.timeout(20):
            while True:
                try:
                    await client.create(LOCATION, location("late"))
                    break
                except Unavailable:
                    await asyncio.sleep(0.1)


async def test_agents_may_write_only_their_own_node(start: Start, one_member: list[EtcdMember]) -> None:
    server = start(one_member, "a")
    agent = Client([server.url], server.pki.client_tls("agent", "n1"), timeout_s=5)
    try:
        await agent.create(NODE, {"metadata": {"name": "n1"}})
        with pytest.raises(Exception, match="may write only its own node"):
            await agent.create(NODE, {"metadata": {"name": "n2"}})
    finally:
        await agent.close()


@pytest.mark.parametrize("extra", [[], ["--cert", "etcd-client-x.crt", "--key", "etcd-client-x.key"]])
def test_without_a_certificate_of_the_right_ca_there_is_no_way_in(
    start: Start, one_member: list[EtcdMember], extra: list[str]
) -> None:
    from swarmkeep.pki import authority

    server = start(one_member, "a")
    authority.issue(server.pki.folder, "etcd-client", "x")
    command = ["curl", "-s", "-m", "5", "--cacert", "ca.crt", *extra, f"{server.url}/healthz"]
    result = subprocess.run(command, cwd=server.pki.folder, capture_output=True, check=False)
    assert result.returncode != 0
    assert result.stdout == b""

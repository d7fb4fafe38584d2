"""The mirror and the client while real API servers are killed and come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.kube.client import Client
from swarmkeep.kube.mirror import Mirror
from swarmkeep.model.kinds import NAMESPACE, WORKLOAD

from ...integration.servers import ApiServer, Pki, api_server

pytestmark = pytest.mark.etcd


@pytest.fixture
def pair(folder: Path, pki: Pki, etcd: str) -> Iterator[tuple[ApiServer, ApiServer]]:
    """Two API servers over one etcd."""
    with api_server(folder, pki, etcd, "first") as first, api_server(folder, pki, etcd, "second") as second:
        yield first, second


@pytest.fixture
async def both(pair: tuple[ApiServer, ApiServer], pki: Pki) -> AsyncIterator[Client]:
    async with Client([server.url for server in pair], pki.client_tls(), timeout_s=5) as client:
        yield client


def workload(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"policy": "redis", "type": "ReplicatedTask", "service": {"id": "s1", "name": "redis"}},
    }


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the other side is another process
            await asyncio.sleep(0.02)


async def test_the_death_of_one_server_is_not_noticed_by_calls_and_hardly_by_mirrors(
    pair: tuple[ApiServer, ApiServer], both: Client
) -> None:
    await both.create(NAMESPACE, {"metadata": {"name": "outage-one"}})
    mirror = Mirror(both, WORKLOAD, "outage-one")
    running = asyncio.create_task(mirror.run())
    await mirror.wait_synced()
    await until(lambda: mirror.connected)
    await asyncio.to_thread(pair[0].kill)
    for number in range(5):
        await both.create(WORKLOAD, workload(f"w.{number}"), "outage-one")
    await until(lambda: len(mirror.objects) == 5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_mirror_keeps_what_it_knew_and_learns_what_it_missed(
    pair: tuple[ApiServer, ApiServer], both: Client, pki: Pki
) -> None:
    first, second = pair
    await both.create(NAMESPACE, {"metadata": {"name": "outage-both"}})
    await both.create(WORKLOAD, workload("stays"), "outage-both")
    await both.create(WORKLOAD, workload("goes"), "outage-both")
    gone: list[str] = []

    def note(ref: Any, old: Any, new: Any) -> None:
        if new is None:
            gone.append(ref.name)

    async with Client([first.url], pki.client_tls(), timeout_s=2) as only_first:
        mirror = Mirror(only_first, WORKLOAD, "outage-both", on_change=note)
        running = asyncio.create_task(mirror.run())
        await mirror.wait_synced()
        await until(lambda: mirror.connected)
        await asyncio.to_thread(first.kill)
        await until(lambda: not mirror.connected)
        assert {ref.name for ref in mirror.objects} == {"stays", "goes"}
        async with Client([second.url], pki.client_tls(), timeout_s=5) as other:
            await other.delete(WORKLOAD, "goes", "outage-both")
        await asyncio.to_thread(first.start)
        await until(lambda: gone == ["goes"])
        assert {ref.name for ref in mirror.objects} == {"stays"}
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

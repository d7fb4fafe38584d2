"""A StorageLocation with real bytes in it, the part of a node's agent that works on it, and the user's command."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from swarmkeep.kube.client import Client
from swarmkeep.model.kinds import LOCATION, NODE, POLICY, WORKLOAD
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.repository import Repository

from ..servers import OPERATOR_FOLDER
from .conftest import Cluster

W = "default/redis.1"


class Storage:
    """The folder of a location, and what lies in it."""

    def __init__(self, folder: Path, name: str = "storage") -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.repository = Repository.open(LocalBlobStore(self.folder), create=True)
        self.source = folder / f"{name}-source"
        (self.source / "layer").mkdir(parents=True)
        (self.source / "volumes" / "data").mkdir(parents=True)
        (self.source / "volumes" / "data" / "index.jsonl").write_bytes(b"x" * 300)

    @property
    def object(self) -> dict[str, Any]:
        """The StorageLocation."""
        return {"spec": {"filesystem": {"path": str(self.folder)}}, "status": {"id": self.repository.location_id}}

    def put(self, number: int, **facts: Any) -> None:
        (self.source / "layer/dump.rdb").write_bytes(f"state {number}".encode() * 100)
        self.repository.put(W, number, self.source, facts, alone=True)

    def flip(self, number: int) -> None:
        """One byte of a version's pack."""
        (pack,) = self.repository.manifest(W, number).packs
        path = self.folder / "packs" / W / pack.name
        content = bytearray(path.read_bytes())
        content[20] ^= 1
        path.chmod(0o600)
        path.write_bytes(content)


@contextmanager
def agent(cluster: Cluster, node: str, work: Callable[[Client], Awaitable[None]]) -> Iterator[None]:
    """A part of a node's agent, with the node's own certificate, until the end of the context."""
    loop = asyncio.new_event_loop()
    tls = cluster.pki.client_tls("agent", node)

    async def whole() -> None:
        try:
            async with Client([cluster.server.url], tls, field_manager="swarmkeep-agent") as client:
                await work(client)
        finally:
            # Connections with TLS are closed a moment after their client.
            await asyncio.sleep(0.3)

    task = loop.create_task(whole())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([task])))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
        assert not thread.is_alive()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    assert task.cancelled(), "it ended by itself"


def swarmkeep(cluster: Cluster, *words: str, code: int = 0) -> str:
    """Output and errors of the command, which must end with `code`."""
    kubeconfig = cluster.pki.kubeconfig(cluster.server.url)
    done = subprocess.run(
        [sys.executable, "-m", "swarmkeep", "--kubeconfig", str(kubeconfig), *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(OPERATOR_FOLDER), "HOME": str(cluster.folder)},
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def prepare(cluster: Cluster, storage: Storage) -> None:
    """The location, two nodes that reach it, a service and its policy."""
    cluster.create(LOCATION, "main", spec={"filesystem": {"path": str(storage.folder)}})
    for name in ("n1", "n2"):
        cluster.node(name)
        said = {"name": "main", "reachable": True, "id": storage.repository.location_id}
        cluster.status(NODE, name, locations=[said])
    cluster.swarm.create("redis")
    spec = {"selector": {"service": "redis"}, "schedule": {"every": "60s"}, "storage": ["main"]}
    cluster.create(POLICY, "redis", "default", spec=spec)


def run_up(cluster: Cluster) -> None:
    """Until the workload runs on n1; both nodes are well."""
    cluster.until(lambda: cluster.find(WORKLOAD, "redis.1", "default"), "the workload is made")
    for name in ("n1", "n2"):
        cluster.renew(name)
        cluster.until_condition(NODE, name, "Ready", "AgentAlive")
    cluster.runs("redis.1", "n1")

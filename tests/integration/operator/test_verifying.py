"""Verification, from the user's command to the node that reads and back: real API, real storage, a simulated Swarm."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent.locations import Locations
from swarmkeep.agent.verifier import Verifier
from swarmkeep.kube.client import Client
from swarmkeep.model.kinds import CHECKPOINT, LOCATION, NODE, POLICY, WORKLOAD
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.repository import Repository

from ..servers import OPERATOR_FOLDER
from .conftest import Cluster

pytestmark = pytest.mark.etcd

W = "default/redis.1"


class Storage:
    """The folder of the location `main`, and what lies in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "storage"
        self.folder.mkdir()
        self.repository = Repository.open(LocalBlobStore(self.folder), create=True)
        self.source = folder / "source"
        (self.source / "layer").mkdir(parents=True)

    @property
    def object(self) -> dict[str, Any]:
        """The StorageLocation."""
        return {"spec": {"filesystem": {"path": str(self.folder)}}, "status": {"id": self.repository.location_id}}

    def put(self, number: int) -> None:
        (self.source / "layer/dump.rdb").write_bytes(f"state {number}".encode() * 100)
        self.repository.put(W, number, self.source, {}, alone=True)

    def flip(self, number: int) -> None:
        """One byte of a version's pack."""
        (pack,) = self.repository.manifest(W, number).packs
        path = self.folder / "packs" / W / pack.name
        content = bytearray(path.read_bytes())
        content[20] ^= 1
        path.chmod(0o600)
        path.write_bytes(content)


@contextmanager
def verifying(cluster: Cluster, storage: Storage, node: str) -> Iterator[None]:
    """The part of a node's agent that verifies."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()

    async def work() -> None:
        client = Client([cluster.server.url], cluster.pki.client_tls("agent", node), field_manager="swarmkeep-agent")
        locations = Locations()
        locations.update({"main": storage.object})
        ready.set()
        try:
            await Verifier(node, client, locations, 1 << 30, timedelta(seconds=30)).run()
        finally:
            await client.close()

    task = loop.create_task(work())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([task])))
    thread.start()
    try:
        assert ready.wait(10)
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
        assert not thread.is_alive()
        loop.close()


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


@pytest.fixture
def storage(cluster: Cluster, tmp_path: Path) -> Storage:
    """A location, two nodes that reach it, a workload that runs and has three versions."""
    storage = Storage(tmp_path)
    cluster.create(LOCATION, "main", spec={"filesystem": {"path": str(storage.folder)}})
    for name in ("n1", "n2"):
        cluster.node(name)
        said = {"name": "main", "reachable": True, "id": storage.repository.location_id}
        cluster.status(NODE, name, locations=[said])
    cluster.swarm.create("redis")
    spec = {"selector": {"service": "redis"}, "schedule": {"every": "60s"}, "storage": ["main"]}
    cluster.create(POLICY, "redis", "default", spec=spec)
    return storage


def run_up(cluster: Cluster, storage: Storage) -> None:
    cluster.until(lambda: cluster.find(WORKLOAD, "redis.1", "default"), "the workload is made")
    for name in ("n1", "n2"):
        cluster.renew(name)
        cluster.until_condition(NODE, name, "Ready", "AgentAlive")
    cluster.runs("redis.1", "n1")
    for number in (1, 2, 3):
        storage.put(number)
        cluster.stores("redis.1", number)


def test_damage_is_found_named_and_shown_everywhere(cluster: Cluster, storage: Storage) -> None:
    with cluster.operator(), verifying(cluster, storage, "n1"), verifying(cluster, storage, "n2"):
        run_up(cluster, storage)
        assert swarmkeep(cluster, "verify", "redis.1").count("Good") == 3
        storage.flip(2)
        assert swarmkeep(cluster, "verify", "redis.1", "--quick").count("Good") == 3
        shown = swarmkeep(cluster, "verify", "--location", "main", code=1)
        (line,) = [line for line in shown.splitlines() if "Damaged" in line]
        assert line.startswith("redis.1-v2 ")
        assert "layer/dump.rdb: " in line
        cluster.until_condition(WORKLOAD, "redis.1", "Intact", "Damaged", "default")
        cluster.until_condition(POLICY, "redis", "Degraded", "VersionsDamaged", "default")
        cluster.until(lambda: "Damaged" in cluster.events("redis.1-v2"), "the version's event")
        cluster.until(lambda: "VersionDamaged" in cluster.events("redis.1"), "the workload's event")
        assert "Damaged" in swarmkeep(cluster, "get", "ckpt", "redis.1-v2")
        assert "layer/dump.rdb" in swarmkeep(cluster, "describe", "ckpt", "redis.1-v2")
        assert "Stored, damaged" in swarmkeep(cluster, "describe", "wl", "redis.1")
        status = cluster.get(CHECKPOINT, "redis.1-v2", "default")["status"]
        assert "verification" not in status
        assert status["verified"]["damagedFiles"] == 1


def test_a_wish_outlives_the_node_that_had_it_and_the_operator(cluster: Cluster, storage: Storage) -> None:
    with cluster.operator():
        run_up(cluster, storage)
        swarmkeep(cluster, "verify", "redis.1-v3", "--no-wait")

        def verifier() -> str:
            status = cluster.get(CHECKPOINT, "redis.1-v3", "default")["status"]
            return str(status.get("verification", {}).get("node"))

        cluster.until(lambda: verifier() == "n1", "it is given to the claim's node")
        cluster.swarm.set_node("n1", ready=False)
        cluster.until(lambda: verifier() == "n2", "it is given to another node")
    with cluster.operator("m2"), verifying(cluster, storage, "n2"):
        for name in ("n1", "n2"):
            cluster.renew(name)

        def result() -> object:
            return cluster.get(CHECKPOINT, "redis.1-v3", "default")["status"].get("verified", {}).get("result")

        cluster.until(lambda: result() == "Good", "the other node verifies it")


def test_what_cannot_be_read_is_not_called_damaged(cluster: Cluster, storage: Storage) -> None:
    with cluster.operator(), verifying(cluster, storage, "n1"):
        run_up(cluster, storage)
        storage.folder.rename(storage.folder.with_name("away"))
        storage.folder.mkdir()
        assert "is it mounted" in swarmkeep(cluster, "verify", "redis.1-v3", code=3)
        status = cluster.get(CHECKPOINT, "redis.1-v3", "default")["status"]
        assert "result" not in status["verified"]
        assert "neither a version nor a workload" in swarmkeep(cluster, "verify", "nobody.1", code=1)

"""The catalogue is lost and made again out of the manifests: real API, real storage, a simulated Swarm."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import pytest

from swarmkeep.agent.desired import Desired
from swarmkeep.agent.importer import Importer
from swarmkeep.agent.locations import Locations
from swarmkeep.kube.client import Client
from swarmkeep.kube.mirror import Mirror
from swarmkeep.model.kinds import CHECKPOINT, LOCATION

from .conftest import Cluster
from .storage import Storage, W, agent, prepare, run_up, swarmkeep

pytestmark = pytest.mark.etcd

FACTS = {"takenAt": "2026-01-01T12:00:00Z", "specHash": "hash", "serviceID": "svc0", "node": "lost", "policy": "redis"}


@pytest.fixture
def storage(cluster: Cluster, tmp_path: Path) -> Storage:
    """Three versions in storage, one of them on demand, that the API knows nothing of."""
    storage = Storage(tmp_path)
    prepare(cluster, storage)
    for number in (1, 2, 3):
        storage.put(number, **FACTS, reason="Schedule")
    storage.put(4, **FACTS, reason="OnDemand", checkpoint="before-upgrade")
    return storage


class Mirrored:
    """Stands for Desired."""

    def __init__(self, client: Client) -> None:
        self.mirror = Mirror(client, LOCATION)

    @property
    def locations(self) -> Any:
        return self.mirror.objects


def importing(cluster: Cluster, storage: Storage, node: str) -> AbstractContextManager[None]:
    async def work(client: Client) -> None:
        locations, desired = Locations(), Mirrored(client)
        locations.update({"main": storage.object})
        async with asyncio.TaskGroup() as group:
            group.create_task(desired.mirror.run())
            group.create_task(Importer(node, client, cast(Desired, desired), locations).run())

    return agent(cluster, node, work)


def names(cluster: Cluster) -> list[str]:
    return sorted(obj["metadata"]["name"] for obj in cluster.list(CHECKPOINT, "default"))


def test_objects_come_back_from_the_manifests_once_and_can_be_used(cluster: Cluster, storage: Storage) -> None:
    with cluster.operator(), importing(cluster, storage, "n1"), importing(cluster, storage, "n2"):
        run_up(cluster)
        assert "4 would be made" in swarmkeep(cluster, "import", "--location", "main", "--dry-run")
        assert names(cluster) == []
        assert "4 versions found, 0 known already, 4 were made" in swarmkeep(cluster, "import", "--location", "main")
        assert names(cluster) == ["before-upgrade", "redis.1-v1", "redis.1-v2", "redis.1-v3"]
        assert "4 known already, 0 were made" in swarmkeep(cluster, "import", "--location", "main")
        obj = cluster.get(CHECKPOINT, "before-upgrade", "default")
        assert obj["spec"]["adopt"] is True
        assert obj["spec"]["reason"] == "OnDemand"
        status = obj["status"]
        assert (status["phase"], status["version"], status["imported"]["takenBy"]) == ("Stored", 4, "lost")
        assert (status["bytes"]["files"], status["bytes"]["volumes"]) == (700, 300)
        cluster.until(lambda: "import" not in cluster.get(LOCATION, "main")["status"], "the order is closed")
        # They go as any version goes: by way of a node.
        cluster.delete(CHECKPOINT, "redis.1-v1", "default")

        def phase() -> str:
            return str(cluster.get(CHECKPOINT, "redis.1-v1", "default")["status"]["phase"])

        cluster.until(lambda: phase() == "Deleting", "it is given to a node")
        assert "4 known already, 0 were made" in swarmkeep(cluster, "import", "--location", "main")
        assert phase() == "Deleting", "what is being deleted is not brought back"


def test_a_version_that_is_deleted_while_it_is_imported_leaves_no_object(
    cluster: Cluster, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Importer._make

    async def deleted_before(self: Importer, workload: Any, verdict: Any, *, adopt: bool) -> None:
        if verdict.name == "redis.1-v2":
            storage.repository.delete(W, 2)
        await make(self, workload, verdict, adopt=adopt)

    monkeypatch.setattr(Importer, "_make", deleted_before)
    with cluster.operator(), importing(cluster, storage, "n1"):
        run_up(cluster)
        assert "3 were made" in swarmkeep(cluster, "import", "--location", "main")
        assert names(cluster) == ["before-upgrade", "redis.1-v1", "redis.1-v3"]


def test_what_cannot_be_imported_is_told_and_stops_nothing_else(cluster: Cluster, storage: Storage) -> None:
    storage.put(5, reason="Schedule", specHash=["no text"])
    path = storage.folder / "manifests" / W / "000000003"
    path.chmod(0o600)
    path.write_bytes(b"garbage")
    storage.repository.put("shop/db.1", 1, storage.source, {**FACTS, "reason": "Schedule"})
    with cluster.operator(), importing(cluster, storage, "n1"):
        run_up(cluster)
        said = swarmkeep(cluster, "import", "--location", "main", "--no-adopt", code=1)
        assert "6 versions found, 0 known already, 3 were made" in said
        assert "default/redis.1 version 3: " in said
        assert "default/redis.1 version 5: its fact 'specHash'" in said
        assert "make the namespace shop and import again" in said
        assert cluster.get(CHECKPOINT, "redis.1-v1", "default")["spec"]["adopt"] is False


def test_an_order_waits_for_a_node_and_outlives_one(cluster: Cluster, storage: Storage) -> None:
    with cluster.operator():
        run_up(cluster)
        assert "n1 is at it" in swarmkeep(cluster, "import", "--location", "main", "--timeout", "2s", code=3)
        cluster.swarm.set_node("n1", ready=False)

        def importer() -> object:
            return cluster.get(LOCATION, "main")["status"].get("import", {}).get("node")

        cluster.until(lambda: importer() == "n2", "it is given to another node")
        with importing(cluster, storage, "n2"):
            cluster.until(lambda: len(names(cluster)) == 4, "the other node imports it")
            cluster.until(lambda: importer() is None, "the order is closed")

"""Verification, from the user's command to the node that reads and back: real API, real storage, a simulated Swarm."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from swarmkeep.agent.journal import Journal
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.mender import Mender
from swarmkeep.agent.tryouts import StoredTryouts
from swarmkeep.agent.verifier import Verifier
from swarmkeep.kube.client import Client
from swarmkeep.model.kinds import CHECKPOINT, LOCATION, NODE, POLICY, WORKLOAD

from .conftest import Cluster
from .storage import Storage, agent, prepare, run_up, swarmkeep

pytestmark = pytest.mark.etcd


@pytest.fixture
def storage(cluster: Cluster, tmp_path: Path) -> Storage:
    storage = Storage(tmp_path)
    prepare(cluster, storage)
    return storage


def run_up_with_versions(cluster: Cluster, storage: Storage) -> None:
    run_up(cluster)
    for number in (1, 2, 3):
        storage.put(number)
        cluster.stores("redis.1", number)


def verifying(
    cluster: Cluster, storage: Storage, node: str, others: dict[str, Storage] | None = None
) -> AbstractContextManager[None]:
    async def work(client: Client) -> None:
        locations = Locations()
        locations.update({name: each.object for name, each in ({"main": storage} | (others or {})).items()})
        state = storage.folder.with_name(f"state-{node}")
        mender = Mender(client, locations, Journal(state / "mended"), state / "mending")
        await Verifier(node, client, locations, mender, cast(StoredTryouts, None), 1 << 30, timedelta(seconds=30)).run()

    return agent(cluster, node, work)


def test_damage_is_found_named_and_shown_everywhere(cluster: Cluster, storage: Storage) -> None:
    with cluster.operator(), verifying(cluster, storage, "n1"), verifying(cluster, storage, "n2"):
        run_up_with_versions(cluster, storage)
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
        assert status["verified"]["damagedFiles"] == len(status["verified"]["problems"])


def test_a_copy_that_is_damaged_is_written_again_out_of_another(
    cluster: Cluster, storage: Storage, tmp_path: Path
) -> None:
    offsite = Storage(tmp_path, "offsite")
    cluster.create(LOCATION, "offsite", spec={"filesystem": {"path": str(offsite.folder)}})
    both = [{"name": name, "state": "Stored"} for name in ("main", "offsite")]
    with cluster.operator(), verifying(cluster, storage, "n1", {"offsite": offsite}):
        run_up_with_versions(cluster, storage)
        for number in (1, 2, 3):
            offsite.put(number)
            cluster.status(CHECKPOINT, f"redis.1-v{number}", "default", phase="Replicated", locations=both)
        reached = [
            {"name": name, "reachable": True, "id": each.repository.location_id}
            for name, each in (("main", storage), ("offsite", offsite))
        ]
        cluster.status(NODE, "n1", locations=reached)
        assert swarmkeep(cluster, "verify", "--location", "offsite").count("Good") == 3
        storage.flip(2)
        shown = swarmkeep(cluster, "verify", "redis.1")
        (line,) = [line for line in shown.splitlines() if "Repaired" in line]
        assert "main: Full on n1, written again out of offsite" in line
        assert storage.repository.verify("default/redis.1", 2) == ()
        cluster.until(lambda: "Repaired" in cluster.events("redis.1-v2"), "the version's event")
        assert swarmkeep(cluster, "verify", "redis.1-v2", "--location", "main").count("written again") == 1
        # With no good copy left it is damaged, and nothing was made worse by the tries.
        storage.flip(3)
        offsite.flip(3)
        assert "Damaged" in swarmkeep(cluster, "verify", "redis.1-v3", code=1)
        cluster.until_condition(WORKLOAD, "redis.1", "Intact", "Damaged", "default")


def test_a_wish_outlives_the_node_that_had_it_and_the_operator(cluster: Cluster, storage: Storage) -> None:
    with cluster.operator():
        run_up_with_versions(cluster, storage)
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
        run_up_with_versions(cluster, storage)
        storage.folder.rename(storage.folder.with_name("away"))
        storage.folder.mkdir()
        assert "is it mounted" in swarmkeep(cluster, "verify", "redis.1-v3", code=3)
        status = cluster.get(CHECKPOINT, "redis.1-v3", "default")["status"]
        assert "result" not in status["verified"]
        assert "neither a version nor a workload" in swarmkeep(cluster, "verify", "nobody.1", code=1)

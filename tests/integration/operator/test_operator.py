"""The operator's whole way, from a policy in the API to its status, and back down to the last version."""

from __future__ import annotations

from typing import Any

import pytest

from swarmkeep.model.kinds import CHECKPOINT, EVENT, LOCATION, NODE, POLICY, WORKLOAD

from .conftest import Cluster

pytestmark = pytest.mark.etcd


def prepare(cluster: Cluster, keep_last: int = 2, **more_rules: Any) -> None:
    """A location, two nodes that reach it, a service and its policy."""
    cluster.create(LOCATION, "main", spec={"filesystem": {"path": "/shared"}})
    for name in ("n1", "n2"):
        cluster.node(name)
        cluster.sees(name, "main")
    cluster.swarm.create("redis")
    spec = {
        "selector": {"service": "redis"},
        "schedule": {"every": "60s"},
        "storage": ["main"],
        "retention": {"keepLast": keep_last, **more_rules},
    }
    cluster.create(POLICY, "redis", "default", spec=spec)


def up(cluster: Cluster) -> None:
    """Until the workload is made; then its agent claims it."""
    cluster.until(lambda: cluster.find(WORKLOAD, "redis.1", "default"), "the workload is made")
    cluster.runs("redis.1", cluster_node(cluster))


def cluster_node(cluster: Cluster) -> str:
    task = cluster.swarm.task("redis")
    return next(name for name in ("n1", "n2") if cluster.swarm.node(name).id == task.node_id)


def test_a_policy_becomes_workloads_and_says_how_they_are(cluster: Cluster) -> None:
    with cluster.operator():
        cluster.create(
            POLICY,
            "redis",
            "default",
            spec={"selector": {"service": "redis"}, "schedule": {"every": "60s"}, "storage": ["main"]},
        )
        cluster.until_condition(POLICY, "redis", "Ready", "StorageLocationMissing", "default")
        cluster.create(LOCATION, "main", spec={"filesystem": {"path": "/shared"}})
        cluster.until_condition(LOCATION, "main", "Reachable", "NoNodes")
        cluster.node("n1")
        cluster.until_condition(NODE, "n1", "Ready", "AgentAlive")
        cluster.until_condition(LOCATION, "main", "Reachable", "Waiting")
        cluster.sees("n1", "main")
        cluster.until_condition(LOCATION, "main", "Reachable", "Reachable")
        assert cluster.get(LOCATION, "main")["status"]["id"] == "id-of-main"
        cluster.until_condition(POLICY, "redis", "Ready", "NothingSelected", "default")
        cluster.swarm.create("redis")
        cluster.until_condition(POLICY, "redis", "Ready", "Selected", "default")
        workload = cluster.until(lambda: cluster.find(WORKLOAD, "redis.1", "default"), "the workload is made")
        assert workload["spec"]["slot"] == 1
        assert workload["metadata"]["labels"]["swarmkeep.dev/policy"] == "redis"
        cluster.until_condition(WORKLOAD, "redis.1", "Protected", "NoVersion", "default")
        cluster.until_condition(POLICY, "redis", "Protected", "NotAllProtected", "default")
        cluster.runs("redis.1", "n1")
        cluster.stores("redis.1", 1)
        cluster.until_condition(WORKLOAD, "redis.1", "Protected", "Protected", "default")
        cluster.until_condition(POLICY, "redis", "Protected", "AllProtected", "default")
        status = cluster.get(POLICY, "redis", "default")["status"]
        assert (status["workloads"], status["protected"], status["restorable"]) == (1, 1, 1)
        assert status["services"] == ["redis"]
        cluster.until(lambda: cluster.get(LOCATION, "main")["status"].get("versions") == 1, "the version is counted")


def test_a_lost_node_is_noticed_and_its_return_too(cluster: Cluster) -> None:
    prepare(cluster)
    with cluster.operator():
        up(cluster)
        node = cluster_node(cluster)
        other = "n2" if node == "n1" else "n1"
        cluster.renew(other)
        cluster.renew(node, seconds=2)
        cluster.until_condition(NODE, node, "Ready", "AgentSilent")
        cluster.swarm.set_node(node, ready=False)
        cluster.until_condition(NODE, node, "Ready", "NodeLost")
        cluster.until(lambda: cluster.get(WORKLOAD, "redis.1", "default")["status"]["phase"] == "Lost", "it is lost")
        cluster.until_condition(POLICY, "redis", "Degraded", "NodeLost", "default")
        cluster.until(lambda: "NodeLost" in cluster.events("redis.1"), "the workload's event")
        cluster.until(lambda: "NodeLost" in cluster.events(node), "the node's event")
        swarm = cluster.until(
            lambda: (seen := cluster.get(WORKLOAD, "redis.1", "default")["status"]["swarm"])["node"] == other and seen,
            "Swarm's new task is seen",
        )
        assert swarm["state"] == "running"
        cluster.swarm.set_node(node)
        cluster.renew(node)
        cluster.until_condition(NODE, node, "Ready", "AgentAlive")


def test_old_versions_go_by_way_of_a_node(cluster: Cluster) -> None:
    prepare(cluster, keep_last=2)
    with cluster.operator():
        up(cluster)
        node = cluster_node(cluster)
        for name in ("n1", "n2"):
            cluster.renew(name)
        cluster.until_condition(NODE, node, "Ready", "AgentAlive")
        cluster.runs("redis.1", node)
        names = [cluster.stores("redis.1", number) for number in range(1, 5)]

        def phases() -> list[str]:
            return [cluster.get(CHECKPOINT, name, "default")["status"]["phase"] for name in names]

        cluster.until(lambda: phases() == ["Deleting", "Deleting", "Stored", "Stored"], "two versions go")
        assert cluster.get(CHECKPOINT, names[0], "default")["status"]["node"] == node
        for name in names[:2]:
            cluster.removes(name)
        # A user deletes one: the same way, and the object stays until its data is gone.
        cluster.delete(CHECKPOINT, names[2], "default")
        cluster.until(lambda: cluster.get(CHECKPOINT, names[2], "default")["status"]["phase"] == "Deleting", "assigned")
        cluster.removes(names[2])
        cluster.until(lambda: cluster.find(CHECKPOINT, names[2], "default") is None, "it is gone")


def test_a_version_that_has_reached_its_age_goes_by_time_alone_unless_it_is_pinned(cluster: Cluster) -> None:
    prepare(cluster, keep_last=9, maxAge="10s")
    with cluster.operator():
        up(cluster)
        node = cluster_node(cluster)
        for name in ("n1", "n2"):
            cluster.renew(name)
        cluster.until_condition(NODE, node, "Ready", "AgentAlive")
        cluster.runs("redis.1", node)
        names = [cluster.stores("redis.1", 1)]
        cluster.patch(CHECKPOINT, names[0], {"spec": {"pinned": True}}, "default")
        names += [cluster.stores("redis.1", number) for number in (2, 3)]

        def phases() -> list[str]:
            return [cluster.get(CHECKPOINT, name, "default")["status"]["phase"] for name in names]

        cluster.until(lambda: phases() == ["Stored", "Deleting", "Stored"], "the old one goes, the newest stays")
        told = next(event for event in cluster.list(EVENT) if event["reason"] == "Pruned")
        assert told["message"] == (
            "lets go of versions that its policy's retention (keepLast 9, maxAge 10s) does not keep"
        )
        cluster.patch(CHECKPOINT, names[0], {"spec": {"pinned": False}}, "default")
        cluster.until(lambda: phases() == ["Deleting", "Deleting", "Stored"], "what was pinned follows")


def test_a_wish_for_a_version_is_given_to_the_right_node(cluster: Cluster) -> None:
    prepare(cluster)
    with cluster.operator():
        up(cluster)
        node = cluster_node(cluster)
        for name in ("n1", "n2"):
            cluster.renew(name)
        cluster.until_condition(NODE, node, "Ready", "AgentAlive")
        cluster.create(CHECKPOINT, "now", "default", spec={"workload": "redis.1"})
        given = cluster.until(
            lambda: cluster.list(CHECKPOINT, fields=f"status.node={node},status.phase=Pending"), "it is given to a node"
        )
        assert given[0]["metadata"]["labels"]["swarmkeep.dev/workload"] == "redis.1"
        cluster.create(CHECKPOINT, "wrong", "default", spec={"workload": "nobody.1"})
        failed = cluster.until(lambda: cluster.list(CHECKPOINT, fields="status.phase=Failed"), "it fails with a reason")
        assert failed[0]["status"]["message"] == "there is no workload nobody.1 in namespace default"


def test_a_service_that_vanishes_leaves_its_versions(cluster: Cluster) -> None:
    prepare(cluster)
    with cluster.operator():
        up(cluster)
        name = cluster.stores("redis.1", 1)
        cluster.swarm.scale("redis", 0)
        cluster.until_condition(WORKLOAD, "redis.1", "Protected", "NotWanted", "default")
        cluster.swarm.scale("redis", 1)
        cluster.until_condition(WORKLOAD, "redis.1", "Protected", "Protected", "default")
        cluster.swarm.remove("redis")
        cluster.until_condition(WORKLOAD, "redis.1", "Protected", "ServiceGone", "default")
        assert cluster.get(CHECKPOINT, name, "default")["status"]["phase"] == "Stored"


def test_a_cold_start_beside_a_good_version_is_told(cluster: Cluster) -> None:
    prepare(cluster)
    with cluster.operator():
        up(cluster)
        cluster.stores("redis.1", 1)
        start = {"how": "Fresh", "reason": "NoVersion", "taskID": "t2", "at": "2099-01-01T00:00:00Z"}
        cluster.status(WORKLOAD, "redis.1", "default", lastStart=start)
        cluster.until_condition(WORKLOAD, "redis.1", "Drift", "ColdStart", "default")
        cluster.until_condition(POLICY, "redis", "Degraded", "Drift", "default")
        cluster.until(lambda: "Drift" in cluster.events("redis.1"), "the event")

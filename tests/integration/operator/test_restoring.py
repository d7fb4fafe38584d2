"""A Restore from the wish to its end: a real API and operator, the hands of an agent."""

from __future__ import annotations

from typing import Any

import pytest

from swarmkeep.model.kinds import RESTORE, WORKLOAD

from .conftest import Cluster
from .test_operator import cluster_node, prepare, up

pytestmark = pytest.mark.etcd


def wish(cluster: Cluster, name: str = "back", **spec: Any) -> None:
    cluster.create(RESTORE, name, "default", spec={"workload": "redis.1", **spec})


def ready(cluster: Cluster) -> str:
    """Three versions of a task that runs; returns its node."""
    up(cluster)
    for number in range(1, 4):
        cluster.stores("redis.1", number)
    cluster.until_condition(WORKLOAD, "redis.1", "Protected", "Protected", "default")
    return cluster_node(cluster)


def order(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.get(WORKLOAD, "redis.1", "default")["status"].get("order") or {}
    return found


def until_phase(cluster: Cluster, phase: str, name: str = "back") -> dict[str, Any]:
    found: dict[str, Any] = cluster.until(
        lambda: (status := cluster.get(RESTORE, name, "default").get("status", {})).get("phase") == phase and status,
        f"{name} is {phase}",
    )
    return found


def test_a_rollback_is_ordered_and_is_done_when_the_next_start_says_so(cluster: Cluster) -> None:
    prepare(cluster, keep_last=9)
    with cluster.operator():
        node = ready(cluster)
        wish(cluster, version=2)
        until_phase(cluster, "Stopping")
        given = order(cluster)
        assert (given["restore"], given["version"], given["when"], given["keepCurrent"]) == ("back", 2, "Now", True)
        # A second one has to wait its turn, and is told so.
        wish(cluster, "again", version=1)
        assert "Restore back is under way" in until_phase(cluster, "Failed", "again")["message"]
        assert order(cluster) == given
        cluster.status(WORKLOAD, "redis.1", "default", phase="Stopped", claim={"node": "", "epoch": 1})
        until_phase(cluster, "Restoring")
        start = {"how": "Restored", "reason": "Rollback", "version": 2, "node": node, "taskID": "t2", "seconds": 0.3}
        start |= {"at": "2026-01-01T12:00:00Z", "restore": "back", "order": given["uid"], "obeyed": True}
        claim = {"node": node, "epoch": 2}
        cluster.status(
            WORKLOAD, "redis.1", "default", phase="Running", claim=claim, lastStart=start, starts=[start], order=None
        )
        done = until_phase(cluster, "Done")
        assert (done["version"], done["node"], done["seconds"]) == (2, node, 0.3)
        assert cluster.condition(RESTORE, "back", "Done", "default") == ("True", "RolledBack")
        cluster.until(lambda: {"Ordered", "RestoreDone"} <= cluster.events("back"), "its events")


def test_deleting_a_restore_takes_its_order_back(cluster: Cluster) -> None:
    prepare(cluster, keep_last=9)
    with cluster.operator():
        ready(cluster)
        wish(cluster, fresh=True, when="NextStart")
        assert "whenever that comes" in until_phase(cluster, "Pending")["message"]
        assert "version" not in order(cluster)
        cluster.delete(RESTORE, "back", "default")
        cluster.until(lambda: not order(cluster), "the order is gone")


def test_one_that_nobody_carries_out_ends_after_its_timeout_and_takes_its_order_along(cluster: Cluster) -> None:
    prepare(cluster, keep_last=9)
    with cluster.operator():
        ready(cluster)
        wish(cluster, version=2, timeout="2s")
        assert "has not given the task up within 2 s" in until_phase(cluster, "Failed")["message"]
        cluster.until(lambda: not order(cluster), "the order is gone")

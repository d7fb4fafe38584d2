"""What the agent's listener tells of workloads and locations: only what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from swarmkeep.agent.journal import Journal
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.model.ident import Ref
from swarmkeep.model.workload import End
from swarmkeep.obs import agent_metrics as metrics
from swarmkeep.plan.ends import end_status

from ..objects import NOW, newest, stamp


def test_a_workload_that_has_left_has_no_sample_any_more(tmp_path: Path) -> None:
    tracked = TrackedContainers(Journal(tmp_path))
    registry = CollectorRegistry()
    registry.register(metrics.newest_versions(tracked.newest_versions))
    registry.register(metrics.replicas(tracked.replica_times))

    def told() -> list[str]:
        return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]

    replicas: list[dict[str, Any]] = [{"location": "far"}, {"location": "off", "version": 4, "takenAt": stamp(10)}]
    for number in (1, 2):
        ref = Ref("default", f"redis.{number}")
        tracked.save(Tracked(ref, "redis", f"c{number}", "t", "hash", "boot", NOW, newest=newest(), replicas=replicas))
    assert len(told()) == 6
    assert 'swarmkeep_replica_timestamp_seconds{location="far",namespace="default",workload="redis.1"} 0.0' in told()
    first = tracked.get(Ref("default", "redis.1"))
    second = tracked.get(Ref("default", "redis.2"))
    assert first is not None
    assert second is not None
    first.end = end_status(End.STOPPED, NOW)
    tracked.save(first)
    assert all("redis.2" in line for line in told())
    tracked.drop(second)
    assert told() == []

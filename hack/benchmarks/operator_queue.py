"""How long the operator needs to know and judge a large Swarm: objects through copy, queue and plans, nothing written.

PYTHONPATH=operator python hack/benchmarks/operator_queue.py [WORKLOADS]
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from swarmkeep.controllers.cache import Cache
from swarmkeep.controllers.dependents import Dependents
from swarmkeep.controllers.execute import status_changes
from swarmkeep.controllers.leases import Leases
from swarmkeep.controllers.queue import Key, KeyedQueue
from swarmkeep.controllers.world import World
from swarmkeep.model.kinds import CHECKPOINT, LEASE, NODE, POLICY, WORKLOAD
from swarmkeep.model.swarm import Mode, Service, Snapshot, SwarmNode, Task
from swarmkeep.model.wire import format_time
from swarmkeep.plan.policy_status import plan_policy
from swarmkeep.plan.workload_status import plan_workload

NODES, SLOTS, VERSIONS, POLICIES = 1000, 10, 2, 50
NOW = datetime.now(UTC)


async def measure(workloads: int) -> None:
    """Fills, drains, and changes some."""
    cache, queue = Cache(), KeyedQueue()
    world = World(cache, Leases())
    cache.on_change = Dependents(world, queue).changed
    world.swarm = swarm(workloads // SLOTS)
    objects = [
        *((POLICY, policy(number)) for number in range(POLICIES)),
        *((NODE, node(number)) for number in range(NODES)),
        *((LEASE, named(f"n{number}", "swarmkeep-nodes", spec={})) for number in range(NODES)),
        *((WORKLOAD, workload(number)) for number in range(workloads)),
        *((CHECKPOINT, version(number, one)) for number in range(workloads) for one in range(1, VERSIONS + 1)),
    ]
    begun = time.perf_counter()
    for kind, obj in objects:
        cache.apply(kind, obj)
    told(f"{len(objects)} objects into the copy", begun, len(objects))
    begun = time.perf_counter()
    looked: Counter[str] = Counter()
    while len(queue):
        key = await queue.take()
        look(world, key)
        looked[key.kind] += 1
        queue.done(key)
    told(f"{looked[WORKLOAD.name]} workloads and {looked[POLICY.name]} policies judged", begun, sum(looked.values()))
    begun = time.perf_counter()
    for number in range(1000):
        changed = workload(number % workloads)
        changed["metadata"]["resourceVersion"] = str(10_000_000 + number)
        cache.apply(WORKLOAD, changed)
        key = await queue.take()
        look(world, key)
        queue.done(key)
    told("1000 reports of new versions judged, one by one", begun, 1000)
    print(f"largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def look(world: World, key: Key) -> None:
    """One cycle without writes."""
    if key.kind == WORKLOAD.name:
        kind, plan = WORKLOAD, plan_workload(world.workload_view(key.ref), NOW)
    elif key.kind == POLICY.name:
        kind, plan = POLICY, plan_policy(world.policy_view(key.ref), NOW)
    else:
        return
    obj = world.cache.get(kind, key.ref)
    if obj is not None and plan.status is not None:
        status_changes(obj, plan.status, NOW)


def told(what: str, begun: float, count: int) -> None:
    """One line."""
    took = time.perf_counter() - begun
    print(f"{what}: {took:.2f} s, {1e6 * took / count:.0f} us each")


def swarm(services: int) -> Snapshot:
    """Services of ten slots each, on a thousand nodes."""
    nodes = [SwarmNode(f"id{n}", f"n{n}", True, "active", False, "10.0.0.1") for n in range(NODES)]
    made = [
        Service(f"svc{n}", f"app{n}", Mode.REPLICATED, SLOTS, "x", 0, NOW, {"group": str(n % POLICIES)})
        for n in range(services)
    ]
    tasks = [
        Task(f"t{n}.{s}", f"svc{n}", s, f"id{(n + s) % NODES}", "running", "running", "c", "", NOW, NOW)
        for n in range(services)
        for s in range(1, SLOTS + 1)
    ]
    return Snapshot.of(nodes, made, tasks, [service.id for service in made])


def named(name: str, namespace: str = "", **parts: Any) -> dict[str, Any]:
    """An object."""
    metadata = {"name": name, "resourceVersion": "10", "generation": 1, "creationTimestamp": format_time(NOW)}
    return {"metadata": {**metadata, **({"namespace": namespace} if namespace else {})}, **parts}


def policy(number: int) -> dict[str, Any]:
    """One of a few policies that select by label."""
    selector = {"matchLabels": {"group": str(number)}}
    spec = {"selector": selector, "schedule": {"every": "60s"}, "storage": ["main"]}
    return named(f"p{number}", "default", spec=spec)


def node(number: int) -> dict[str, Any]:
    """A node that is ready."""
    ready = {"type": "Ready", "status": "True", "reason": "AgentAlive", "message": ""}
    said = [{"name": "main", "reachable": True, "id": "x"}]
    return named(f"n{number}", status={"conditions": [ready], "locations": said, "swarmNodeID": f"id{number}"})


def workload(number: int) -> dict[str, Any]:
    """A workload as its agent reports it."""
    service, slot = divmod(number, SLOTS)
    spec = {
        "policy": f"p{service % POLICIES}",
        "type": "ReplicatedTask",
        "service": {"id": f"svc{service}", "name": f"app{service}"},
        "slot": slot + 1,
    }
    newest = {"number": VERSIONS, "takenAt": format_time(NOW - timedelta(seconds=5)), "specHash": "h"}
    claim = {"node": f"n{(service + slot + 1) % NODES}", "epoch": 1}
    status = {"phase": "Running", "claim": claim, "specHash": "h", "newestVersion": newest}
    return named(f"app{service}.{slot + 1}", "default", spec=spec, status=status)


def version(number: int, one: int) -> dict[str, Any]:
    """One of its versions."""
    service, slot = divmod(number, SLOTS)
    name = f"app{service}.{slot + 1}"
    status = {"phase": "Stored", "version": one, "node": "n1", "location": "main", "takenAt": format_time(NOW)}
    return named(f"{name}-v{one}", "default", spec={"workload": name}, status=status)


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))

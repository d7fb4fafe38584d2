"""Whether a workload can be moved to a node, and what the Swarm has to be told for that. Pure.

All of this is asked before anything is stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from swarmkeep.model.node import NodeFacts
from swarmkeep.model.policy import Policy, RestoreOn
from swarmkeep.model.swarm import Mode, Service, SwarmNode, Task
from swarmkeep.model.traits import ContainerTraits
from swarmkeep.model.workload import Phase, Workload
from swarmkeep.plan.findings import Finding, Severity
from swarmkeep.plan.node_doctor import obstacles_for
from swarmkeep.plan.placement import may_run_on
from swarmkeep.plan.resolve import running_task
from swarmkeep.plan.workload_doctor import examine_container

_STILL = frozenset({"", "completed", "rollback_completed"})
"""States of a service's last update in which the Swarm does nothing about it."""

_BESIDE = frozenset({"NoRoom", "ImageMissing", "OtherMachine"})
"""Codes of what makes a target unfit and is not judged here by itself."""


@dataclass(frozen=True, slots=True)
class Side:
    """The node that it runs on, or the one that it is to go to."""

    name: str
    facts: NodeFacts
    ready: bool
    """Its agent renews its lease, and the Swarm calls it ready."""
    lost: bool
    swarm: SwarmNode | None
    """None when the Swarm does not have it."""
    locations: frozenset[str]
    """StorageLocations that it reaches."""
    standby_version: int | None = None
    """The newest version of the workload that it says it has ready."""
    standby_message: str = ""
    """Why it has no newer one."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a move begins with."""

    workload: Workload | None
    policy: Policy | None
    """None when it is gone or does not select the workload."""
    traits: ContainerTraits | None
    service: Service | None
    tasks: tuple[Task, ...]
    """All that the Swarm remembers of the service."""
    nodes: tuple[SwarmNode, ...]
    source: Side | None
    """Where the workload's claim is held."""
    target: Side | None
    """None when there is no such node."""
    unfit: tuple[Finding, ...] = ()
    """What keeps the target from going on with it, as explain-placement says."""


def obstacles(scene: Scene, target: str) -> tuple[str, ...]:
    """Why it cannot be moved to the node of that name, in whole sentences; empty when it can."""
    workload, service = scene.workload, scene.service
    if workload is None:
        return ("there is no such workload",)
    found = [*_workload(scene, workload, target)]
    if workload.container_name is not None:
        return tuple(dict.fromkeys((*found, *_container(scene, workload, target))))
    found += _target(scene, target)
    if service is None:
        found.append(f"the Swarm has no service {workload.service_name}")
    else:
        found += _service(service)
    if not found and service is not None and scene.target is not None and scene.target.swarm is not None:
        found += _place(scene, workload, service, scene.target.swarm)
    return tuple(found)


def constraints_for(scene: Scene) -> tuple[str, ...]:
    """The placement constraints under which the Swarm moves this one task, and no other, to the target.

    To be asked only when there are no `obstacles`.
    """
    assert scene.target is not None  # noqa: S101 - an obstacle else
    assert scene.target.swarm is not None  # noqa: S101
    target = scene.target.swarm.id
    others = _holders(scene) - {_source_id(scene)}
    if others <= {target}:
        wanted = [f"node.id=={target}"]
    else:
        wanted = [f"node.id!={node.id}" for node in scene.nodes if node.id != target and node.id not in others]
    has = scene.service.constraints if scene.service else ()
    return tuple(item for item in sorted(wanted) if item not in has)


def _workload(scene: Scene, workload: Workload, target: str) -> Iterator[str]:
    source = workload.claim.node
    if workload.phase is not Phase.RUNNING or not source:
        yield f"it is {workload.phase}, not Running"
    elif scene.source is None or scene.source.lost:
        yield f"{source}, which runs it, is lost"
    if source == target:
        yield f"it runs on {target} already"
    policy = scene.policy
    if policy is None:
        yield f"its policy {workload.policy} is gone, cannot be carried out, or does not select it any more"
        return
    if not policy.on_stop:
        yield f"policy {policy.ref.name} has checkpoint.onStop: false, so that stopping it would lose its state"
    if RestoreOn.RESCHEDULE not in policy.restore.after:
        yield f"policy {policy.ref.name} does not name Reschedule in restore.after, so that it would start fresh"
    for finding in examine_container(scene.traits, policy) if scene.traits else ():
        if finding.severity is Severity.PROBLEM:
            yield finding.message


def _container(scene: Scene, workload: Workload, name: str) -> Iterator[str]:
    """SwarmKeep itself places it: what holds for a node that is to take over from a lost one holds here."""
    if workload.container_id is None:
        yield "nobody has reported which container it is"
    if scene.target is None:
        yield f"there is no node {name}"
    elif workload.claim.node != name:
        yield from _state(scene, scene.target)
        # The version that it will be made of is taken when it stops.
        yield from (f"{name}: {finding.message}" for finding in scene.unfit if finding.code != "NoVersion")


def _target(scene: Scene, name: str) -> Iterator[str]:
    target = scene.target
    if target is None:
        yield f"there is no node {name}"
        return
    if not target.ready:
        yield f"{name} is not ready"
        return
    if target.swarm is None:
        yield f"the Swarm has no node {name}"
    elif target.swarm.availability != "active":
        yield f"the availability of {name} in the Swarm is {target.swarm.availability}: it takes no new tasks"
    elif scene.service is not None and not may_run_on(scene.service.constraints, target.swarm):
        rules = ", ".join(scene.service.constraints)
        yield f"the constraints of service {scene.service.name} ({rules}) do not allow {name}"
    yield from _state(scene, target)
    for finding in scene.unfit:
        if finding.code in _BESIDE:
            yield f"{name}: {finding.message}"


def _state(scene: Scene, target: Side) -> Iterator[str]:
    """Whether the target gets the state, and whether that can go on there."""
    if scene.policy is not None and not target.locations & set(scene.policy.locations):
        yield f"{target.name} reaches none of the policy's locations ({', '.join(scene.policy.locations)})"
    if scene.source is not None:
        for finding in obstacles_for(target.facts, scene.source.facts):
            yield f"{target.name}: {finding.message}"


def _service(service: Service) -> Iterator[str]:
    if service.mode is not Mode.REPLICATED:
        yield f"{service.name} is no replicated service: its tasks stay on their nodes"
    if service.start_first:
        text = f"{service.name} updates start-first: the new task would wait for the old one, and the other way round"
        yield f"{text}; set --update-order stop-first"
    if service.update_state not in _STILL:
        yield f"an update of {service.name} is {service.update_state}; let it end, or resume it"


def _place(scene: Scene, workload: Workload, service: Service, target: SwarmNode) -> Iterator[str]:
    """Whether the Swarm can be told to move this one task there, and no other."""
    wanted = [task for task in scene.tasks if task.wanted]
    mine = running_task(workload.slot, scene.tasks)
    if mine is None:
        yield "the Swarm does not say of exactly one task in its place that it runs"
        return
    source = mine.node_id
    if scene.source is not None and scene.source.swarm is not None and scene.source.swarm.id != source:
        yield f"the Swarm runs its task elsewhere than on {workload.claim.node}, which has the claim"
        return
    counts = {node.id: sum(task.node_id == node.id for task in wanted) for node in scene.nodes}
    names = {node.id: node.hostname for node in scene.nodes}
    if counts.get(source, 0) > 1:
        text = f"{counts[source]} tasks of {service.name} run on {names.get(source, source)}"
        yield f"{text}, and the Swarm can only be told to move all of them; scale it down, or drain the node"
        return
    if service.most_per_node and counts[target.id] >= service.most_per_node:
        yield f"{target.hostname} has {counts[target.id]} of its tasks, as many as --replicas-max-per-node allows"
        return
    others = {node_id for node_id in _holders(scene) if node_id not in (source, target.id)}
    if not others:
        return
    if any(task.state != "running" for task in wanted):
        yield f"not all tasks of {service.name} run: the Swarm would place those anew as well"
    elif service.spreads:
        yield f"{service.name} has several tasks and placement preferences: the Swarm may choose another of their nodes"
    elif counts[target.id] >= min(counts[node_id] for node_id in others):
        # The Swarm takes the node with the fewest tasks of the service among those that are left.
        rivals = ", ".join(sorted(names.get(node_id, node_id) for node_id in others))
        yield f"the Swarm might as well choose {rivals}, where other tasks of {service.name} run"


def _source_id(scene: Scene) -> str:
    slot = scene.workload.slot if scene.workload else None
    return next((task.node_id for task in scene.tasks if task.wanted and task.slot == slot), "")


def _holders(scene: Scene) -> frozenset[str]:
    """Ids of the nodes that have tasks of the service."""
    return frozenset(task.node_id for task in scene.tasks if task.wanted and task.node_id)

"""Whether a policy is carried out, and which workloads it needs. Used by the operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from swarmkeep.model.conditions import Condition, Status, find_condition
from swarmkeep.model.ident import Ref
from swarmkeep.model.node import SeenContainer
from swarmkeep.model.policy import Policy
from swarmkeep.model.swarm import Snapshot
from swarmkeep.model.traits import ContainerTraits
from swarmkeep.model.wire import format_time
from swarmkeep.model.workload import Phase, Replica, Workload
from swarmkeep.plan.actions import Plan, PutWorkload, StatusPatch, WorkloadSpec
from swarmkeep.plan.portable import portable
from swarmkeep.plan.replication import plan_replicated
from swarmkeep.plan.resolve import Resolution, resolve
from swarmkeep.plan.resolve_containers import resolve_containers

NAMED = 3
"""Things of a kind that a message names before it only counts."""


@dataclass(frozen=True, slots=True)
class Member:
    """A workload of the policy as the operator and its agent last reported it."""

    workload: Workload
    conditions: tuple[Mapping[str, Any], ...]
    failure: str
    """Why its last version could not be taken; empty when it could."""
    replicas: tuple[Replica, ...] = ()
    traits: ContainerTraits | None = None
    """What its container is like; None while none is known."""


@dataclass(frozen=True, slots=True)
class PolicyView:
    """Everything that the decision about one policy needs."""

    ref: Ref
    generation: int
    policy: Policy | None
    problem: str
    """Why there is no `policy`: what the spec says that cannot be done."""
    rivals: tuple[Policy, ...]
    """All policies that can be carried out, of all namespaces."""
    swarm: Snapshot | None
    """None while the Swarm cannot be asked."""
    swarm_problem: str
    known: Mapping[Ref, WorkloadSpec]
    """Specs of the workloads that exist in the policy's namespace."""
    members: tuple[Member, ...]
    """Existing workloads of this policy."""
    locations: Mapping[str, Sequence[Mapping[str, Any]] | None]
    """Conditions of each of its StorageLocations; None for one that does not exist."""
    containers: tuple[SeenContainer, ...] = ()
    """Plain containers that it selects, as the nodes' agents report them."""
    lost_nodes: frozenset[str] = frozenset()


def plan_policy(view: PolicyView, now: datetime) -> Plan:  # noqa: ARG001 - every plan is a function of a view and now
    """Makes the policy's workloads and says how it does."""
    if view.policy is None:
        text = f"{view.problem}; nothing is protected by it until that is corrected"
        invalid = _condition("Ready", Status.FALSE, "InvalidSpec", text)
        return Plan(f"{view.ref}: {text}", status=StatusPatch({"observedGeneration": view.generation}, (invalid,)))
    found = _resolve(view, view.policy)
    fields: dict[str, Any] = {"observedGeneration": view.generation, "selects": str(view.policy.selector)}
    members = view.members
    puts: list[PutWorkload] = []
    if found is not None:
        puts = [PutWorkload(ref, spec) for ref, spec in found.workloads.items() if view.known.get(ref) != spec]
        fields["services"] = list(found.services)
        if view.policy.selector.is_for_containers:
            fields["containers"] = list(found.containers)
        fields["workloads"] = len(found.workloads)
        members = tuple(member for member in members if member.workload.ref in found.workloads)
    protected = [member for member in members if _is_true(member, "Protected")]
    newest = [member.workload.newest for member in members if member.workload.newest is not None]
    fields["protected"] = len(protected)
    fields["restorable"] = len(newest)
    fields["oldestVersionAt"] = format_time(min(item.taken_at for item in newest)) if newest else None
    copied = [(member.workload, member.replicas) for member in members]
    replicated = plan_replicated(view.policy, view.locations, copied)
    conditions = (
        _ready(view, view.policy, found),
        _protected(found, members, len(protected)),
        replicated,
        _degraded(members, replicated),
        portable(
            view.policy, {member.workload.ref.name: member.traits for member in members}, _start_first(view, found)
        ),
    )
    reason = f"{view.ref}: makes {_names(str(put.ref.name) for put in puts)}" if puts else ""
    return Plan(reason, tuple(puts), StatusPatch(fields, conditions))


def _start_first(view: PolicyView, found: Resolution | None) -> list[str]:
    """Services of the policy whose updates start the new task first."""
    selected = {spec.service_name for spec in found.workloads.values()} if found is not None else set()
    services = view.swarm.services.values() if view.swarm is not None else ()
    return [service.name for service in services if service.start_first and service.name in selected]


def _resolve(view: PolicyView, policy: Policy) -> Resolution | None:
    """None while nobody can tell what it selects."""
    if policy.selector.is_for_containers:
        # The agents tell of plain containers: the Swarm knows nothing of them.
        return resolve_containers(policy, view.containers, view.lost_nodes, view.known)
    return resolve(policy, view.rivals, view.swarm, view.known) if view.swarm is not None else None


def _ready(view: PolicyView, policy: Policy, found: Resolution | None) -> Condition:
    if found is None:
        return _condition("Ready", Status.UNKNOWN, "SwarmUnavailable", view.swarm_problem)
    location = view.locations[policy.location]
    if location is None:
        text = f"there is no StorageLocation {policy.location}: create it, or name another in spec.storage"
        return _condition("Ready", Status.FALSE, "StorageLocationMissing", text)
    reachable = find_condition(location, "Reachable") or {}
    if reachable.get("status") != Status.TRUE:
        said = reachable.get("message") or "no node has looked at it yet"
        text = f"StorageLocation {policy.location}: {said}"
        status = Status.FALSE if reachable.get("status") == Status.FALSE else Status.UNKNOWN
        return _condition("Ready", status, "StorageUnreachable", text)
    if found.overlaps:
        name, winner = min(found.overlaps.items())
        others = f" and {len(found.overlaps) - 1} more" if len(found.overlaps) > 1 else ""
        kind = "container" if policy.selector.is_for_containers else "service"
        text = f"{kind} {name}{others} belongs to the older policy {winner}: make one of the selectors narrower"
        return _condition("Ready", Status.FALSE, "Overlap", text)
    if found.clashes:
        name, other = min(found.clashes.items())
        text = (
            f"{name} and {other} would share workloads of the same names in namespace "
            f"{view.ref.namespace}: put one of the policies into another namespace"
        )
        return _condition("Ready", Status.FALSE, "NameClash", text)
    if found.doubles:
        name, nodes = min(found.doubles.items())
        text = (
            f"container {name} runs on {_names(nodes)}, and a name means one container on all nodes: the one that has "
            "the claim is protected, the others are left alone; rename them"
        )
        return _condition("Ready", Status.FALSE, "SameNameTwice", text)
    if found.jobs and len(found.jobs) == len(found.services):
        text = f"{_names(found.jobs)} runs to an end: jobs are not kept alive"
        return _condition("Ready", Status.FALSE, "OnlyJobs", text)
    selected = found.containers if policy.selector.is_for_containers else found.services
    if not selected:
        kind = "container" if policy.selector.is_for_containers else "service"
        return _condition("Ready", Status.FALSE, "NothingSelected", f"no {kind} matches {policy.selector} now")
    if policy.suspend:
        text = "no versions are taken on schedule while spec.schedule.suspend is true"
        return _condition("Ready", Status.TRUE, "Suspended", text)
    return _condition("Ready", Status.TRUE, "Selected", f"selects {_names(selected)}")


def _protected(found: Resolution | None, members: Sequence[Member], protected: int) -> Condition:
    total = len(members) if found is None else len(found.workloads)
    if total == 0:
        return _condition("Protected", Status.FALSE, "NoWorkloads", "it has no workloads now")
    if protected == total:
        return _condition("Protected", Status.TRUE, "AllProtected", "every workload has a version that is not overdue")
    bad = [member for member in members if not _is_true(member, "Protected")]
    said = [
        f"{member.workload.ref.name}: {(find_condition(member.conditions, 'Protected') or {}).get('message', 'is new')}"
        for member in bad
    ]
    text = f"{total - protected} of {total} workloads have no version that is young enough"
    return _condition("Protected", Status.FALSE, "NotAllProtected", f"{text}: {_names(said, '; ')}" if said else text)


def _degraded(members: Sequence[Member], replicated: Condition) -> Condition:
    lost = [member.workload.ref.name for member in members if member.workload.phase in (Phase.LOST, Phase.FENCED)]
    if lost:
        text = f"the node is lost, or has lost the control plane, of {_names(lost)}"
        return _condition("Degraded", Status.TRUE, "NodeLost", text)
    held = [member.workload.ref.name for member in members if member.workload.phase is Phase.HELD]
    if held:
        return _condition("Degraded", Status.TRUE, "Held", f"not allowed to start: {_names(held)}")
    looping = [
        f"{member.workload.ref.name}: {(find_condition(member.conditions, 'CrashLoop') or {}).get('message')}"
        for member in members
        if _is_true(member, "CrashLoop")
    ]
    if looping:
        return _condition("Degraded", Status.TRUE, "CrashLoop", _names(looping, "; "))
    drifted = [
        f"{member.workload.ref.name}: {(find_condition(member.conditions, 'Drift') or {}).get('message')}"
        for member in members
        if _is_true(member, "Drift")
    ]
    if drifted:
        return _condition("Degraded", Status.TRUE, "Drift", _names(drifted, "; "))
    failing = [f"{member.workload.ref.name}: {member.failure}" for member in members if member.failure]
    if failing:
        return _condition("Degraded", Status.TRUE, "VersionsFail", _names(failing, "; "))
    damaged = [
        f"{member.workload.ref.name}: {found.get('message')}"
        for member in members
        if (found := find_condition(member.conditions, "Intact") or {}).get("status") == Status.FALSE
    ]
    if damaged:
        return _condition("Degraded", Status.TRUE, "VersionsDamaged", _names(damaged, "; "))
    untrue = [
        f"{member.workload.ref.name}: {found.get('message')}"
        for member in members
        if (found := find_condition(member.conditions, "Restorable") or {}).get("status") == Status.FALSE
    ]
    if untrue:
        return _condition("Degraded", Status.TRUE, "TestRestoreFailed", _names(untrue, "; "))
    if replicated.status is Status.FALSE:
        return _condition("Degraded", Status.TRUE, "ReplicationBehind", replicated.message)
    return _condition("Degraded", Status.FALSE, "AsPromised", "all workloads are as promised")


def _is_true(member: Member, type_: str) -> bool:
    return (find_condition(member.conditions, type_) or {}).get("status") == Status.TRUE


def _condition(type_: str, status: Status, reason: str, message: str) -> Condition:
    return Condition(type_, status, reason, message)


def _names(names: Iterable[str], separator: str = ", ") -> str:
    listed = list(names)
    rest = len(listed) - NAMED
    return separator.join(listed[:NAMED]) + (f" and {rest} more" if rest > 0 else "")

"""Which workloads a policy stands for, out of what the Swarm runs now. Used by the operator.

The agent comes to the same names from a container's labels alone (plan/protection.py): both go through model/ident.py
and order rivals by `seniority`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from swarmkeep.model.ident import Ref, node_workload_name, service_stem, slot_workload_name
from swarmkeep.model.policy import Policy, Selector
from swarmkeep.model.swarm import Mode, Service, Snapshot, Task
from swarmkeep.plan.actions import WorkloadSpec
from swarmkeep.plan.protection import seniority


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a policy selects now."""

    services: tuple[str, ...] = ()
    """Names of all services that the selector matches, those of older policies included."""
    workloads: Mapping[Ref, WorkloadSpec] = field(default_factory=dict)
    overlaps: Mapping[str, Ref] = field(default_factory=dict)
    """Services, or plain containers, that an older policy has, with that policy."""
    clashes: Mapping[str, str] = field(default_factory=dict)
    """Services, or plain containers, whose workloads would have the names of another's, with that other."""
    jobs: tuple[str, ...] = ()
    """Services that run to an end: nothing of them is kept alive."""
    containers: tuple[str, ...] = ()
    """Names of all plain containers that the selector matches, those of older policies included."""
    doubles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Plain containers of one name that run on several nodes, with those nodes."""


def resolve(policy: Policy, rivals: Iterable[Policy], swarm: Snapshot, known: Mapping[Ref, WorkloadSpec]) -> Resolution:
    """The workloads of `policy`. `rivals` are all policies, `known` the workloads that exist in its namespace."""
    rivals = tuple(rivals)
    matched = [service for service in swarm.services.values() if matches(policy.selector, service)]
    # The oldest service keeps a name that two would have.
    matched.sort(key=lambda service: (service.created_at.isoformat() if service.created_at else "", service.name))
    workloads: dict[Ref, WorkloadSpec] = {}
    overlaps: dict[str, Ref] = {}
    clashes: dict[str, str] = {}
    jobs = []
    names = {service.name for service in swarm.services.values()}
    for service in matched:
        winner = winner_of(service, rivals)
        if winner is not None and seniority(winner) < seniority(policy):
            overlaps[service.name] = winner.ref
            continue
        if service.mode is Mode.JOB:
            jobs.append(service.name)
            continue
        for ref, spec in _workloads_of(policy, service, swarm.tasks.get(service.id, ())):
            holder = workloads.get(ref) or known.get(ref)
            if holder is not None and holder.container is not None:
                clashes[service.name] = holder.container
                continue
            if holder is not None and holder.service_name != service.name and holder.service_name in names:
                clashes[service.name] = holder.service_name
                continue
            workloads[ref] = spec
    return Resolution(
        services=tuple(sorted(service.name for service in matched)),
        workloads=workloads,
        overlaps=overlaps,
        clashes=clashes,
        jobs=tuple(sorted(jobs)),
    )


def winner_of(service: Service, policies: Iterable[Policy]) -> Policy | None:
    """The policy that has the service: the oldest that selects it."""
    return min((policy for policy in policies if matches(policy.selector, service)), key=seniority, default=None)


def matches(selector: Selector, service: Service) -> bool:
    """Whether the selector is for this service."""
    if selector.is_for_containers:
        return False
    if selector.service is not None:
        return service.name == selector.service
    if selector.stack is not None:
        return service.stack == selector.stack
    wanted = selector.match_labels or {}
    return any(
        all(labels.get(key) == value for key, value in wanted.items())
        for labels in (service.labels, service.container_labels)
    )


def task_of(spec: WorkloadSpec, tasks: Iterable[Task]) -> Task | None:
    """The task that matters for a workload: the one that Swarm wants to run, else the one that ran last."""
    mine = [
        task for task in tasks if (task.slot == spec.slot if spec.slot is not None else task.node_id == spec.node_id)
    ]
    return max(
        mine,
        key=lambda task: (task.wanted, task.created_at.isoformat() if task.created_at else "", task.id),
        default=None,
    )


def running_task(slot: int | None, tasks: Iterable[Task]) -> Task | None:
    """The task of a slot that runs and is to run; None when there is none, or there are several."""
    wanted = [task for task in tasks if task.wanted and task.slot == slot]
    return wanted[0] if len(wanted) == 1 and wanted[0].state == "running" else None


def _workloads_of(policy: Policy, service: Service, tasks: Iterable[Task]) -> Iterable[tuple[Ref, WorkloadSpec]]:
    namespace = policy.ref.namespace
    stem = service_stem(service.name, service.stack, namespace)
    found: dict[Ref, WorkloadSpec] = {}
    for task in tasks:
        if not task.wanted:
            continue
        if service.mode is Mode.REPLICATED and task.slot is not None:
            ref = Ref(namespace, slot_workload_name(stem, task.slot))
            slot, node_id = task.slot, None
        elif service.mode is Mode.GLOBAL and task.node_id:
            ref = Ref(namespace, node_workload_name(stem, task.node_id))
            slot, node_id = None, task.node_id
        else:
            continue
        found[ref] = WorkloadSpec(policy.ref.name, service.id, service.name, slot, node_id, service.force_update)
    return sorted(found.items())

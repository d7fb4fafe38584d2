"""Which policy protects a container, and which workload it belongs to. Used by the agent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from swarmkeep.model.ident import Ref, container_workload_name, node_workload_name, service_stem, slot_workload_name
from swarmkeep.model.policy import Policy

SERVICE_ID = "com.docker.swarm.service.id"
SERVICE_NAME = "com.docker.swarm.service.name"
TASK_NAME = "com.docker.swarm.task.name"
TASK_ID = "com.docker.swarm.task.id"
NODE_ID = "com.docker.swarm.node.id"
STACK = "com.docker.stack.namespace"
"""Labels that Docker puts on every container of a Swarm task (the last one only for stacks)."""


@dataclass(frozen=True, slots=True)
class Protection:
    """A container's policy and the workload that it runs."""

    policy: Policy
    workload: Ref
    service_id: str
    """Empty for a plain container, as is `task_id`."""
    task_id: str
    container: str | None = None
    """Name of the plain container; None for one of a task."""


def find_protection(name: str, labels: Mapping[str, str], policies: Iterable[Policy]) -> Protection | None:
    """The protection of the container of that name and with these labels; None when no policy selects it.

    When several policies select it the oldest wins, so that a new policy never takes a workload away from another.
    """
    if is_plain(labels):
        found = selecting(name, labels, policies)
        if not found:
            return None
        ref = Ref(found[0].ref.namespace, container_workload_name(name))
        return Protection(found[0], ref, "", "", container=name)
    service, task_id = labels.get(SERVICE_NAME), labels.get(TASK_ID)
    if not service or not task_id:
        return None
    policy = min((policy for policy in policies if selects(policy, labels)), key=seniority, default=None)
    if policy is None:
        return None
    stem = service_stem(service, labels.get(STACK), policy.ref.namespace)
    workload = Ref(policy.ref.namespace, _workload_name(stem, labels))
    return Protection(policy, workload, labels.get(SERVICE_ID, ""), task_id)


def is_plain(labels: Mapping[str, str]) -> bool:
    """Whether a container with these labels is of no Swarm task: then only a user, or SwarmKeep, starts it."""
    return not any(label in labels for label in (SERVICE_NAME, SERVICE_ID, TASK_ID))


def selecting(name: str, labels: Mapping[str, str], policies: Iterable[Policy]) -> list[Policy]:
    """The policies that select a plain container, the one that has it first."""
    return sorted((policy for policy in policies if _selects_plain(policy, name, labels)), key=seniority)


def _selects_plain(policy: Policy, name: str, labels: Mapping[str, str]) -> bool:
    selector = policy.selector
    if selector.container is not None:
        return name == selector.container
    wanted = selector.wanted_labels
    return wanted is not None and all(labels.get(key) == value for key, value in wanted.items())


def selects(policy: Policy, labels: Mapping[str, str]) -> bool:
    """Whether the policy's selector matches a container of a task.

    Service labels are not on containers: for them the operator has listed the services in the policy's status.
    """
    selector, service = policy.selector, labels.get(SERVICE_NAME)
    if selector.is_for_containers:
        return False
    if selector.service is not None:
        return service == selector.service
    if selector.stack is not None:
        return labels.get(STACK) == selector.stack
    wanted = selector.match_labels or {}
    return service in policy.services or all(labels.get(key) == value for key, value in wanted.items())


def seniority(policy: Policy) -> tuple[str, Ref]:
    """Sorts the policy that wins first: the oldest, then by namespace and name."""
    return (policy.created_at.isoformat() if policy.created_at else "", policy.ref)


def _workload_name(stem: str, labels: Mapping[str, str]) -> str:
    # Tasks are named <service>.<slot>.<task id>; those of a global service <service>.<node id>.<task id>.
    place = labels.get(TASK_NAME, "").removesuffix("." + labels[TASK_ID]).rpartition(".")[2]
    if place.isdecimal():
        return slot_workload_name(stem, int(place))
    return node_workload_name(stem, labels.get(NODE_ID, place))

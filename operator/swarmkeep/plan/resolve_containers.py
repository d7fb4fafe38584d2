"""Which workloads a policy for plain containers stands for, out of what the nodes' agents report. Used by the operator.

A container's name is its identity on all nodes: it may run on any of them, but on one at a time. Of two that run under
one name the one that has the claim is protected, and the other is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from swarmkeep.model.ident import Ref, container_workload_name
from swarmkeep.model.node import SeenContainer
from swarmkeep.model.policy import Policy
from swarmkeep.plan.actions import WorkloadSpec
from swarmkeep.plan.resolve import Resolution


def resolve_containers(
    policy: Policy, seen: Iterable[SeenContainer], lost: frozenset[str], known: Mapping[Ref, WorkloadSpec]
) -> Resolution:
    """The workloads of `policy`. `seen` are the containers that it selects, on whichever node.

    `lost` are nodes whose report is old: a container there counts, since it is to come back, but not as running twice.
    `known` are the workloads that exist in the policy's namespace.
    """
    by_name: dict[str, list[SeenContainer]] = {}
    for item in seen:
        by_name.setdefault(item.name, []).append(item)
    workloads: dict[Ref, WorkloadSpec] = {}
    overlaps: dict[str, Ref] = {}
    clashes: dict[str, str] = {}
    doubles: dict[str, tuple[str, ...]] = {}
    for name, items in sorted(by_name.items()):
        # Every node goes by the same policies: that they differ lasts for a moment only.
        winner = items[0].policies[0]
        if winner != policy.ref:
            overlaps[name] = winner
            continue
        ref = Ref(policy.ref.namespace, container_workload_name(name))
        holder = known.get(ref)
        if holder is not None and holder.container is None:
            clashes[name] = holder.service_name
            continue
        workloads[ref] = container_spec(policy, name)
        running = tuple(sorted(item.node for item in items if item.running and item.node not in lost))
        if len(running) > 1:
            doubles[name] = running
    return Resolution(
        workloads=workloads, overlaps=overlaps, clashes=clashes, containers=tuple(sorted(by_name)), doubles=doubles
    )


def container_spec(policy: Policy, name: str) -> WorkloadSpec:
    """The spec of a plain container's workload."""
    return WorkloadSpec(policy.ref.name, "", "", None, None, 0, container=name)

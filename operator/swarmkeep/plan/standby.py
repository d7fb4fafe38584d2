"""Which node keeps a workload's newest version ready, for when the one that runs it is lost. Used by the operator."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from swarmkeep.model.conditions import Condition, Status
from swarmkeep.model.ident import Ref
from swarmkeep.model.workload import Workload


@dataclass(frozen=True, slots=True)
class StandbyNode:
    """A node as far as it may keep a workload ready."""

    name: str
    able: bool
    """It is ready, takes new tasks, and the service's constraints allow it."""
    locations: frozenset[str]
    """StorageLocations that it reaches."""
    host: tuple[str, str]
    """Its kernel and its CRIU."""
    ready_version: int | None
    """The version of the workload that it says it has ready."""


def choose_standby(
    workload: Ref, runs_on: str, current: str, locations: Sequence[str], nodes: Sequence[StandbyNode]
) -> str | None:
    """The node; None when no other node can.

    One with the same kernel and CRIU as where it runs is better, one that reaches more of the locations too. Of equal
    ones `current` stays; else a hash chooses, so that the workloads of a node spread over the others, and a node that
    comes or goes moves only what it has to.
    """
    home = next((node.host for node in nodes if node.name == runs_on), None)
    able = [node for node in nodes if node.able and node.name != runs_on and node.locations & set(locations)]

    def rank(node: StandbyNode) -> tuple[bool, int, bool, bytes]:
        spread = hashlib.blake2b(f"{workload}@{node.name}".encode(), digest_size=8).digest()
        return (node.host == home, len(node.locations & set(locations)), node.name == current, spread)

    best = max(able, key=rank, default=None)
    return best.name if best else None


def plan_standby(
    workload: Workload,
    wanted: bool,
    locations: Sequence[str],
    nodes: Sequence[StandbyNode],
    *,
    node_lost: bool,
    moving_to: str = "",
) -> tuple[str | None, Condition]:
    """The node that is to keep it ready, and how that goes. `moving_to` is where a migration brings its versions."""
    if not wanted:
        return None, Condition("Standby", Status.FALSE, "NotWanted", "nothing asks for a standby of it now")
    runs_on = workload.claim.node
    if moving_to:
        name: str | None = moving_to
    elif not runs_on or node_lost:
        # Its next task is on the way, most likely there: that is no time to send the version elsewhere.
        name = workload.standby or None
    else:
        name = choose_standby(workload.ref, runs_on, workload.standby, locations, nodes)
    if name is None:
        text = "no other node is ready, allowed by the service's constraints, and reaches a location of the policy"
        return None, Condition("Standby", Status.FALSE, "NoNode", text)
    node = next((item for item in nodes if item.name == name), None)
    version = node.ready_version if node else None
    if version is None:
        return name, Condition("Standby", Status.FALSE, "Filling", f"{name} has no version ready yet")
    return name, Condition("Standby", Status.TRUE, "Ready", f"{name} keeps the newest versions ready")

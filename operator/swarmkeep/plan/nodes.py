"""Does a node live? Decided by its lease first, and by what the Swarm says of it. Used by the operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from swarmkeep.model.conditions import Condition, Status, find_condition
from swarmkeep.model.node import swarm_wire
from swarmkeep.model.swarm import SwarmNode
from swarmkeep.plan.actions import Plan, StatusPatch, Tell

NODE_LOST = "NodeLost"
AGENT_SILENT = "AgentSilent"
NO_LEASE = "NoLease"
_LOST = frozenset({NODE_LOST, AGENT_SILENT, NO_LEASE})


@dataclass(frozen=True, slots=True)
class LeaseView:
    """A node's lease as this process has watched it."""

    age: timedelta
    """Since this process saw it change last, or saw it first; by a clock that never jumps."""
    duration: timedelta
    renewed: bool
    """Whether this process has seen it change: without that nobody knows yet how old it was when first seen."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """Everything that the decision about a node needs."""

    name: str
    conditions: tuple[Mapping[str, Any], ...]
    lease: LeaseView | None
    """None when there is no lease."""
    swarm: SwarmNode | None
    """None when the Swarm does not have the node."""
    swarm_known: bool
    """False while the Swarm cannot be asked."""


def plan_node(view: NodeView, now: datetime) -> Plan:
    """Whether the node is Ready, and when its lease would run out."""
    condition = _condition(view)
    before = find_condition(view.conditions, "Ready")
    wake_at = None
    if view.lease is not None and view.lease.age < view.lease.duration:
        wake_at = now + (view.lease.duration - view.lease.age) + timedelta(milliseconds=20)
    if condition is None:
        return Plan("", wake_at=wake_at)
    fields: dict[str, Any] = {}
    if view.swarm_known:
        fields["swarm"] = swarm_wire(view.swarm) if view.swarm is not None else None
    actions = []
    was_lost, lost = is_lost(view.conditions), condition.reason in _LOST
    if lost and not was_lost and before is not None:
        actions.append(Tell(True, NODE_LOST, condition.message))
    elif was_lost and not lost:
        actions.append(Tell(False, "NodeReady", condition.message))
    changed = before is None or (before.get("status"), before.get("reason")) != (condition.status, condition.reason)
    reason = f"{view.name}: {condition.message}" if changed else ""
    return Plan(reason, tuple(actions), StatusPatch(fields, (condition,)), wake_at)


def is_lost(conditions: tuple[Mapping[str, Any], ...]) -> bool:
    """Whether a node with these conditions has lost its claims: its lease ran out, whatever else lives of it."""
    ready = find_condition(conditions, "Ready")
    return ready is not None and ready.get("reason") in _LOST


def is_ready(conditions: tuple[Mapping[str, Any], ...]) -> bool:
    """Whether work can be given to a node with these conditions."""
    ready = find_condition(conditions, "Ready")
    return ready is not None and ready.get("status") == Status.TRUE


def _condition(view: NodeView) -> Condition | None:
    """None: not enough is known yet to say anything new."""
    lease, swarm = view.lease, view.swarm
    down = view.swarm_known and (swarm is None or not swarm.ready)
    if lease is None:
        text = "its agent has never renewed a lease; is it running, and may it write to the API?"
        return Condition("Ready", Status.FALSE if down else Status.UNKNOWN, NO_LEASE, text)
    if lease.age >= lease.duration:
        return _expired(view, lease, down)
    if not lease.renewed:
        return None
    if not view.swarm_known:
        return Condition("Ready", Status.TRUE, "AgentAlive", "its agent renews its lease")
    if swarm is None:
        text = "its agent renews its lease, but the Swarm has no such node; is it called otherwise there?"
        return Condition("Ready", Status.FALSE, "NotInSwarm", text)
    if not swarm.ready:
        return Condition(
            "Ready", Status.FALSE, "SwarmDown", "its agent renews its lease, but the Swarm says it is down"
        )
    if swarm.availability != "active":
        # Such a node still works: only new tasks keep away from it.
        text = f"its agent renews its lease; its availability in the Swarm is {swarm.availability}"
        return Condition("Ready", Status.TRUE, "AgentAlive", text)
    return Condition("Ready", Status.TRUE, "AgentAlive", "its agent renews its lease")


def _expired(view: NodeView, lease: LeaseView, down: bool) -> Condition:
    seconds = lease.duration.total_seconds()
    if down:
        said = "says that it is down" if view.swarm is not None else "does not have it any more"
        text = f"its agent has not renewed its lease for {seconds:g} s, and the Swarm {said}"
        return Condition("Ready", Status.FALSE, NODE_LOST, text)
    said = "the Swarm still reaches it" if view.swarm_known else "the Swarm cannot be asked"
    text = f"its agent has not renewed its lease for {seconds:g} s; {said}. Its workloads may be taken by other nodes"
    return Condition("Ready", Status.UNKNOWN, AGENT_SILENT, text)

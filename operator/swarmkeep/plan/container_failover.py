"""Gives a plain container whose node is lost to another node: no Swarm does. Pure; used by the operator.

An assignment is written once for an epoch of the claim. It is changed only when the chosen node is lost too, or reports
that it cannot; it is over as soon as a node has taken the claim, since that raises the epoch. One whose node then could
not start it, when no other can either, is written anew for the epoch that came of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from swarmkeep.model.conditions import Condition, Status, find_condition
from swarmkeep.model.node import NodeFacts, PlacementFailure
from swarmkeep.model.policy import Policy, RestoreOn
from swarmkeep.model.wire import format_time
from swarmkeep.model.workload import Workload
from swarmkeep.plan.actions import Tell
from swarmkeep.plan.container_placement import PLACED, Placement, given_condition, nowhere_condition, place
from swarmkeep.plan.host_fit import Needs

NODE_LOSS = "NodeLoss"


@dataclass(frozen=True, slots=True)
class FailoverView:
    """What is known of the places where a plain container could go on."""

    needs: Needs
    nodes: tuple[NodeFacts, ...]
    lost: frozenset[str]
    """Names of the nodes whose leases ran out."""
    failures: Mapping[str, PlacementFailure]
    """What nodes say of having been given it in vain, by node."""


@dataclass(frozen=True, slots=True)
class Failover:
    """What follows for the Workload's status."""

    conditions: tuple[Condition, ...] = ()
    fields: Mapping[str, Any] | None = None
    """None leaves the assignment as it is."""
    tell: Tell | None = None


def plan_failover(
    workload: Workload,
    policy: Policy | None,
    conditions: Sequence[Mapping[str, Any]],
    view: FailoverView | None,
    now: datetime,
) -> Failover:
    """What is to be done about the place of a plain container. `view` is None while its node is not lost."""
    before = find_condition(conditions, PLACED)
    if view is None:
        return _at_home(workload, known=before is not None)
    if policy is None or RestoreOn.NODE_LOSS not in policy.restore.after:
        text = "its policy is gone" if policy is None else "its policy restores nothing after the loss of a node"
        return Failover((Condition(PLACED, Status.FALSE, "NotWanted", text),))
    given = _given(workload)
    if given is not None and _may_still(given, workload, view):
        return Failover((given_condition(given),))
    placement = place(view.needs, view.nodes, policy.placement)
    chosen = placement.chosen
    if chosen is None:
        condition = nowhere_condition(placement)
        known = before is not None and (before.get("reason"), before.get("message")) == (
            condition.reason,
            condition.message,
        )
        tell = None if known else Tell(True, condition.reason, condition.message)
        return Failover((condition,), _kept(workload, now), tell)
    why = _why(placement, policy)
    lost = f"{workload.claim.node} is lost" if workload.claim.node else "no node runs it"
    text = f"{lost}: {chosen} is to go on with it, {why}"
    return Failover((given_condition(chosen),), _assigned(workload, chosen, why, now), Tell(False, PLACED, text))


def _at_home(workload: Workload, *, known: bool) -> Failover:
    given = _given(workload)
    back = given is not None and bool(workload.claim.node) and workload.claim.node != given
    # The node is back before another has taken its claim: that one must not begin now.
    fields = {"placement": None} if back and workload.placement and workload.placement.reason == NODE_LOSS else None
    if not known and fields is None:
        return Failover()
    has = f"{workload.claim.node} has it" if workload.claim.node else "its node is not lost"
    return Failover((Condition(PLACED, Status.TRUE, "NodeLives", has),), fields)


def _kept(workload: Workload, now: datetime) -> Mapping[str, Any] | None:
    """No node can. One that has failed keeps it: its agent may try again when what was in the way is gone."""
    last = workload.placement
    if last is None or workload.claim.node or last.epoch == workload.claim.epoch:
        return None
    # It took the claim for its try: under the epoch before that it would never try again, and nobody would want it.
    return _assigned(workload, last.node, "it could not, and no other can: it tries again", now)


def _assigned(workload: Workload, node: str, why: str, now: datetime) -> Mapping[str, Any]:
    return {
        "placement": {
            "node": node,
            "reason": NODE_LOSS,
            "message": why,
            "at": format_time(now),
            "epoch": workload.claim.epoch,
        }
    }


def _given(workload: Workload) -> str | None:
    """The node that has been given it in this epoch."""
    given = workload.placement
    return given.node if given is not None and given.epoch == workload.claim.epoch else None


def _may_still(node: str, workload: Workload, view: FailoverView) -> bool:
    """Whether the node that was given it may still come to run it."""
    failure = view.failures.get(node)
    if failure is not None and failure.epoch == workload.claim.epoch:
        return False
    # A node that is only slow, or drained by now, goes on with what it was given: only a lost one never will.
    known = any(item.name == node for item in view.nodes)
    return known and node != workload.claim.node and node not in view.lost


def _why(placement: Placement, policy: Policy) -> str:
    best = placement.verdicts[0]
    count = len(placement.possible)
    among = "the only node that can" if count == 1 else f"one of {count} nodes that can"
    if best.ready_version is not None:
        return f"{among}: it keeps version {best.ready_version} ready"
    return among if count == 1 else f"{among}, by {policy.placement.strategy}"

"""A node lives while its lease does; the Swarm's word is added to that."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from swarmkeep.model.conditions import Condition, merge_conditions
from swarmkeep.model.swarm import SwarmNode
from swarmkeep.plan.actions import Plan, Tell
from swarmkeep.plan.nodes import LeaseView, NodeView, is_lost, is_ready, plan_node

from ..objects import NOW

S = timedelta(seconds=1)
HERE = SwarmNode("id1", "n1", True, "active", True, "10.0.0.1")
FRESH = LeaseView(1 * S, 15 * S, renewed=True)
DEAD = LeaseView(15 * S, 15 * S, renewed=True)


def view(**fields: Any) -> NodeView:
    return replace(NodeView("n1", (), FRESH, HERE, swarm_known=True), **fields)


def ready(plan: Plan) -> Condition:
    assert plan.status is not None
    return plan.status.conditions[0]


@pytest.mark.parametrize(
    ("fields", "status", "reason", "lost"),
    [
        ({}, "True", "AgentAlive", False),
        ({"swarm": replace(HERE, availability="drain")}, "True", "AgentAlive", False),
        ({"swarm": replace(HERE, ready=False)}, "False", "SwarmDown", False),
        ({"swarm": None}, "False", "NotInSwarm", False),
        ({"swarm": None, "swarm_known": False}, "True", "AgentAlive", False),
        ({"lease": DEAD}, "Unknown", "AgentSilent", True),
        ({"lease": DEAD, "swarm": replace(HERE, ready=False)}, "False", "NodeLost", True),
        ({"lease": DEAD, "swarm": None}, "False", "NodeLost", True),
        ({"lease": DEAD, "swarm_known": False}, "Unknown", "AgentSilent", True),
        ({"lease": None}, "Unknown", "NoLease", True),
        ({"lease": None, "swarm": replace(HERE, ready=False)}, "False", "NoLease", True),
    ],
)
def test_the_condition(fields: dict[str, Any], status: str, reason: str, lost: bool) -> None:
    condition = ready(plan_node(view(**fields), NOW))
    assert (condition.status, condition.reason) == (status, reason)
    merged = tuple(merge_conditions([], [condition], NOW, 1))
    assert is_lost(merged) is lost
    assert is_ready(merged) is (status == "True")


def test_a_lease_that_was_only_seen_once_proves_nothing() -> None:
    plan = plan_node(view(lease=LeaseView(2 * S, 15 * S, renewed=False)), NOW)
    assert plan.status is None
    assert plan.wake_at is not None
    assert plan.wake_at - NOW >= 13 * S


def test_it_is_looked_at_again_when_the_lease_would_run_out() -> None:
    wake_at = plan_node(view(), NOW).wake_at
    assert wake_at is not None
    assert 14 * S <= wake_at - NOW < 15 * S


def test_loss_and_return_are_told_once() -> None:
    well = tuple(merge_conditions([], [ready(plan_node(view(), NOW))], NOW, 1))
    lost = plan_node(view(lease=DEAD, conditions=well), NOW)
    assert [action.reason for action in lost.actions if isinstance(action, Tell)] == ["NodeLost"]
    known = tuple(merge_conditions(well, [ready(lost)], NOW, 1))
    assert plan_node(view(lease=DEAD, conditions=known), NOW).actions == ()
    back = plan_node(view(conditions=known), NOW)
    assert [action.reason for action in back.actions if isinstance(action, Tell)] == ["NodeReady"]


def test_a_node_that_was_never_seen_alive_is_no_news() -> None:
    assert plan_node(view(lease=None), NOW).actions == ()


def test_what_the_swarm_says_stays_on_the_node_while_the_swarm_cannot_be_asked() -> None:
    labelled = plan_node(view(swarm=replace(HERE, labels={"zone": "a"})), NOW)
    assert labelled.status is not None
    assert labelled.status.fields["swarm"]["labels"] == ["zone=a"]
    silent = plan_node(view(swarm=None, swarm_known=False), NOW)
    assert silent.status is not None
    assert "swarm" not in silent.status.fields
    gone = plan_node(view(swarm=None), NOW)
    assert gone.status is not None
    assert gone.status.fields == {"swarm": None}

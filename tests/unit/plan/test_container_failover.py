"""A plain container whose node is lost is given to one other node, and only to one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.conditions import Status
from swarmkeep.model.node import NodeFacts, PlacementFailure
from swarmkeep.model.workload import Assignment, Claim, Workload
from swarmkeep.plan.actions import Tell
from swarmkeep.plan.container_failover import Failover, FailoverView, plan_failover

from ..objects import NOW, policy, stamp, workload
from .placing import NEEDS, REF, node

PLAIN = replace(workload("db"), ref=REF, container_name="db", claim=Claim("n1", 3))
NODES = tuple(node(name) for name in ("n1", "n2", "n3"))
FULL = frozenset({"5432/tcp"})


def view(
    nodes: tuple[NodeFacts, ...] = NODES, lost: frozenset[str] = frozenset({"n1"}), **failed: tuple[int, str]
) -> FailoverView:
    failures = {name: PlacementFailure(REF, epoch, said) for name, (epoch, said) in failed.items()}
    told = {name: one.message for name, one in failures.items() if one.epoch == 3}
    nodes = tuple(replace(item, ready="Unknown") if item.name in lost else item for item in nodes)
    return FailoverView(replace(NEEDS, failed=told), nodes, lost, failures)


def given_to(name: str, epoch: int = 3, reason: str = "NodeLoss", **fields: Any) -> Workload:
    return replace(PLAIN, placement=Assignment(name, reason, NOW, epoch), **fields)


def decide(workload: Workload, seen: FailoverView | None, **rules: Any) -> Failover:
    return plan_failover(workload, policy(**rules), (), seen, NOW)


def said(failover: Failover) -> tuple[str, str]:
    return str(failover.conditions[0].status), failover.conditions[0].reason


def assigned(failover: Failover) -> str | None:
    return failover.fields["placement"]["node"] if failover.fields else None


def test_it_is_given_to_one_node_with_the_claims_epoch() -> None:
    busy = (NODES[0], replace(NODES[1], ports=FULL), NODES[2])
    decided = decide(PLAIN, view(busy))
    assert decided.fields == {
        "placement": {
            "node": "n3",
            "reason": "NodeLoss",
            "message": "the only node that can",
            "at": stamp(),
            "epoch": 3,
        }
    }
    assert said(decided) == ("True", "NodeChosen")
    assert decided.tell == Tell(False, "Placed", "n1 is lost: n3 is to go on with it, the only node that can")


def test_the_reason_for_the_choice_is_told() -> None:
    ready = (*NODES[:2], replace(NODES[2], standbys={str(REF): 7}))
    for nodes, rules, why in (
        (ready, {}, "one of 2 nodes that can: it keeps version 7 ready"),
        (NODES, {"placement": {"strategy": "BinPack"}}, "one of 2 nodes that can, by BinPack"),
    ):
        decided = decide(PLAIN, view(nodes), **rules)
        assert decided.fields is not None
        assert decided.fields["placement"]["message"] == why


@pytest.mark.parametrize(
    ("nodes", "name"),
    [
        (NODES, "n2"),
        # Others are better by now, or it would not be chosen any more: it goes on with what it was given.
        ((NODES[0], NODES[1], replace(NODES[2], standbys={str(REF): 7})), "n2"),
        ((NODES[0], replace(NODES[1], ports=FULL, ready="False"), NODES[2]), "n2"),
    ],
)
def test_an_assignment_stays_while_its_node_lives(nodes: tuple[NodeFacts, ...], name: str) -> None:
    decided = decide(given_to(name), view(nodes))
    assert decided.fields is None
    assert said(decided) == ("True", "NodeChosen")


@pytest.mark.parametrize(
    ("workload", "seen"),
    [
        (given_to("n2"), view(lost=frozenset({"n1", "n2"}))),
        (given_to("n2"), view(n2=(3, "no such device"))),
        (given_to("n2"), view((NODES[0], NODES[2]))),
        (given_to("n1"), view((NODES[0], NODES[2]))),
        (given_to("n2", epoch=2), view((NODES[0], NODES[2]))),
    ],
    ids=["lost too", "reports that it cannot", "is gone", "is the lost one", "of an earlier loss"],
)
def test_it_is_changed_when_its_node_never_will(workload: Workload, seen: FailoverView) -> None:
    assert assigned(decide(workload, seen)) == "n3"


def test_a_failure_of_an_earlier_loss_does_not_count() -> None:
    assert decide(given_to("n2"), view(n2=(2, "no such device"))).fields is None


def test_when_no_node_can_the_condition_says_why_and_the_event_comes_once() -> None:
    nodes = (NODES[0], replace(NODES[1], ports=FULL))
    decided = decide(PLAIN, view(nodes))
    assert (decided.fields, said(decided)) == (None, ("False", "NoNode"))
    assert "n2: the node's port 5432/tcp is taken" in decided.conditions[0].message
    assert decided.tell == Tell(True, "NoNode", decided.conditions[0].message)
    shown = decided.conditions[0]
    before = [{"type": shown.type, "status": shown.status, "reason": shown.reason, "message": shown.message}]
    assert plan_failover(PLAIN, policy(), before, view(nodes), NOW).tell is None


def test_one_that_failed_keeps_it_while_no_other_can() -> None:
    decided = decide(given_to("n2"), view(NODES[:2], n2=(3, "no such device")))
    assert (decided.fields, said(decided)) == (None, ("False", "NoNode"))
    assert "could not: no such device" in decided.conditions[0].message


def test_one_that_took_the_claim_for_its_try_keeps_it_under_the_new_epoch() -> None:
    tried, seen = given_to("n2", claim=Claim("", 4)), view(NODES[:2], n2=(4, "no such device"))
    seen = replace(seen, needs=replace(NEEDS, leaves="", failed={"n2": "no such device"}))
    decided = decide(tried, seen)
    assert (assigned(decided), said(decided)) == ("n2", ("False", "NoNode"))
    assert decided.fields is not None
    assert decided.fields["placement"]["epoch"] == 4
    kept = given_to("n2", epoch=4, claim=Claim("", 4))
    assert decide(kept, seen).fields is None
    # What it could not do is told no more: it tries again, and nothing has to be written for that.
    again = decide(kept, replace(seen, needs=replace(NEEDS, leaves=""), failures={}))
    assert (again.fields, said(again)) == (None, ("True", "NodeChosen"))


def test_a_policy_may_not_want_it() -> None:
    decided = decide(PLAIN, view(), restore={"after": ["Crash"]})
    assert (decided.fields, said(decided)) == (None, ("False", "NotWanted"))
    assert said(plan_failover(PLAIN, None, (), view(), NOW)) == ("False", "NotWanted")


def test_a_node_that_comes_back_in_time_keeps_it_and_the_other_must_not_begin() -> None:
    decided = decide(given_to("n2"), None)
    assert decided.fields == {"placement": None}
    assert said(decided) == ("True", "NodeLives")


@pytest.mark.parametrize(
    "workload",
    [
        given_to("n2", reason="Migration"),
        given_to("n2", epoch=2),
        given_to("n2", claim=Claim("", 3)),
        given_to("n1"),
        PLAIN,
    ],
    ids=["another's order", "carried out", "given back", "its own", "none"],
)
def test_nothing_else_is_withdrawn(workload: Workload) -> None:
    assert decide(workload, None) == Failover()


def test_the_condition_ends_when_the_container_runs_again() -> None:
    before = [{"type": "Placed", "status": "True", "reason": "NodeChosen", "message": "n2 is to go on with it"}]
    decided = plan_failover(given_to("n2", claim=Claim("n2", 4)), policy(), before, None, NOW)
    assert (decided.fields, said(decided)) == (None, ("True", "NodeLives"))


events = st.lists(
    st.tuples(st.sampled_from(["lose", "return", "fail", "retry", "look"]), st.sampled_from(["n2", "n3", "n4"]))
)


@given(events)
def test_it_never_moves_from_a_node_that_lives_and_has_not_refused(history: list[tuple[str, str]]) -> None:
    """Whatever comes and goes; each look may be by another leader that knows nothing but what is written."""
    nodes = (*NODES, node("n4"))
    lost, failed, workload = {"n1"}, dict[str, tuple[int, str]](), PLAIN
    for what, name in [*history, ("look", "")]:
        if what == "lose":
            lost.add(name)
        elif what == "return":
            lost.discard(name)
        elif what == "fail" and workload.placement is not None and workload.placement.node == name:
            failed[name] = (3, "no")
        elif what == "retry":
            failed.pop(name, None)
        before = workload.placement
        seen = view(nodes, frozenset(lost), **failed)
        decided = decide(workload, seen)
        if decided.fields is not None:
            written = decided.fields["placement"]
            assert written["node"] not in lost | failed.keys()
            assert before is None or before.node in lost | failed.keys()
            workload = given_to(written["node"], written["epoch"])
            # Looking again changes nothing.
            assert decide(workload, seen).fields is None
        elif decided.conditions[0].status is Status.FALSE:
            assert {"n2", "n3", "n4"} <= lost | failed.keys()

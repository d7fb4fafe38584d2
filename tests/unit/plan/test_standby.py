"""Which node keeps a workload ready."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.ident import Ref
from swarmkeep.model.swarm import SwarmNode
from swarmkeep.plan.placement import may_run_on
from swarmkeep.plan.standby import StandbyNode, choose_standby, plan_standby

from ..objects import workload

WL = Ref("default", "redis.1")
SAME = ("6.18", "4.2.1")


def node(name: str, *locations: str, host: tuple[str, str] = SAME, able: bool = True) -> StandbyNode:
    return StandbyNode(name, able, frozenset(locations or ("main",)), host, None)


def choose(nodes: list[StandbyNode], current: str = "", runs_on: str = "n1") -> str | None:
    return choose_standby(WL, runs_on, current, ("main", "far"), nodes)


def test_never_where_it_runs_nor_where_it_cannot() -> None:
    assert choose([node("n1"), node("n2")]) == "n2"
    assert choose([node("n1"), node("n2", able=False)]) is None
    assert choose([node("n1"), node("n2", "other")]) is None
    assert choose([]) is None


def test_the_same_kind_of_host_is_better_and_then_more_locations_and_then_the_present_one() -> None:
    other = node("n2", "main", "far", host=("6.1", "3.17"))
    alike = node("n3", "main")
    reaching = node("n4", "main", "far")
    assert choose([node("n1"), other, alike], current="n2") == "n3"
    assert choose([node("n1"), alike, reaching], current="n3") == "n4"
    assert choose([node("n1"), reaching, node("n5", "main", "far")], current="n5") == "n5"
    assert choose([node("n1"), other]) == "n2"


@given(st.sets(st.integers(2, 30), min_size=1), st.integers(2, 30))
def test_a_node_that_goes_moves_only_what_was_on_it(numbers: set[int], goes: int) -> None:
    nodes = [node("n1"), *(node(f"n{number}") for number in sorted(numbers))]
    first = choose(nodes)
    assert choose(list(reversed(nodes))) == first
    assert choose(nodes, current=first or "") == first
    left = [item for item in nodes if item.name != f"n{goes}"]
    if first != f"n{goes}":
        assert choose(left) == first


def test_the_workloads_of_a_node_spread_over_the_others() -> None:
    nodes = [node(f"n{number}") for number in range(1, 6)]
    chosen = [choose_standby(Ref("default", f"w.{slot}"), "n1", "", ("main",), nodes) for slot in range(200)]
    assert {chosen.count(name) > 20 for name in ("n2", "n3", "n4", "n5")} == {True}


def test_while_it_is_on_its_way_the_standby_stays() -> None:
    nodes = [node("n1", able=False), node("n2"), node("n3")]
    on_n3 = replace(workload(claim="n1"), standby="n3")
    assert plan_standby(on_n3, True, ("main",), nodes, node_lost=True)[0] == "n3"
    unclaimed = replace(workload(claim=""), standby="n3")
    assert plan_standby(unclaimed, True, ("main",), nodes, node_lost=False)[0] == "n3"
    arrived = replace(workload(claim="n3"), standby="n3")
    assert plan_standby(arrived, True, ("main",), nodes, node_lost=False)[0] == "n2"


@pytest.mark.parametrize(
    ("wanted", "nodes", "reason"),
    [
        (False, [node("n1"), node("n2")], "NotWanted"),
        (True, [node("n1")], "NoNode"),
        (True, [node("n1"), node("n2")], "Filling"),
        (True, [node("n1"), replace(node("n2"), ready_version=4)], "Ready"),
    ],
)
def test_the_condition_says_how_it_goes(wanted: bool, nodes: list[StandbyNode], reason: str) -> None:
    name, condition = plan_standby(workload(), wanted, ("main",), nodes, node_lost=False)
    assert condition.reason == reason
    assert (condition.status == "True") == (reason == "Ready")
    assert name == ("n2" if reason in ("Filling", "Ready") else None)


HERE = SwarmNode("id1", "n1", True, "active", True, "10.0.0.1", {"disk": "SSD"})


@pytest.mark.parametrize(
    ("constraint", "holds"),
    [
        ("node.hostname==n1", True),
        ("node.hostname!=n1", False),
        ("node.hostname == N1", True),
        ("node.id!=id2", True),
        ("node.role==manager", True),
        ("node.role==worker", False),
        ("node.labels.disk==ssd", True),
        ("node.labels.disk!=ssd", False),
        ("node.labels.zone==a", False),
        ("node.labels.zone!=a", True),
        ("engine.labels.os==linux", True),
        ("nonsense", True),
    ],
)
def test_a_service_may_run_where_its_constraints_hold(constraint: str, holds: bool) -> None:
    assert may_run_on([constraint], HERE) is holds
    assert may_run_on([constraint, "node.hostname==n1"], HERE) is (holds)

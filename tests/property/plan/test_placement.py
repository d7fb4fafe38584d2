"""What must hold of placement for every Swarm, every container and every strategy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.node import Load, Network, NodeFacts, SeenLocation
from swarmkeep.model.policy import PlacementRules, Strategy
from swarmkeep.model.swarm import SwarmNode
from swarmkeep.plan.container_placement import Placement, Verdict, place
from swarmkeep.plan.host_fit import Needs

from ...unit.plan.placing import GIB, IMAGE, NEEDS, REF, TRAITS, node, volume

PORTS = ["80/tcp", "5432/tcp"]


@st.composite
def facts(draw: st.DrawFn, name: str) -> NodeFacts:
    """A node; most things about it are well."""
    mostly = st.integers(0, 5).map(bool)
    fields: dict[str, Any] = {
        "ready": "True" if draw(mostly) else "Unknown",
        "versions": node(name).versions if draw(mostly) else {},
        "creates_containers": draw(mostly),
        "images": IMAGE if draw(mostly) else {},
        "locations": (SeenLocation("main", draw(mostly), ""),),
        "swarm": SwarmNode(f"id-{name}", name, True, "active" if draw(mostly) else "drain", draw(st.booleans()), ""),
        "ports": frozenset(draw(st.sets(st.sampled_from(PORTS), max_size=1))),
        "volumes": frozenset(draw(st.sets(st.sampled_from(["data", "other"])))),
        "networks": {"shop": Network("bridge", "local", True)} if draw(mostly) else None,
        "load": draw(
            st.builds(
                Load,
                cpus=st.integers(0, 8),
                memory_bytes=st.integers(0, 8).map(lambda gib: gib * GIB),
                free_memory_bytes=st.none() | st.integers(0, 8).map(lambda gib: gib * GIB),
                running=st.integers(0, 20),
                taken_memory_bytes=st.integers(0, 10).map(lambda gib: gib * GIB),
                taken_cpus=st.floats(0, 10),
            )
        ),
        "standbys": {str(REF): draw(st.integers(1, 7))} if draw(st.integers(0, 4)) == 0 else {},
    }
    return node(name, **fields)


@st.composite
def swarms(draw: st.DrawFn) -> list[NodeFacts]:
    count = draw(st.integers(0, 6))
    return [draw(facts(f"n{number}")) for number in range(1, count + 1)]


needs = st.builds(
    lambda traits, **fields: replace(NEEDS, traits=traits, **fields),
    traits=st.none()
    | st.builds(
        lambda **fields: replace(TRAITS, **fields),
        memory_bytes=st.integers(0, 4).map(lambda gib: gib * GIB),
        cpus=st.floats(0, 4),
        ports=st.sets(st.sampled_from(PORTS)).map(tuple),
        mounts=st.sampled_from([(), (volume("data"),)]),
        networks=st.sampled_from([(), ("shop",)]),
    ),
    plain=st.booleans(),
    leaves=st.sampled_from(["", "n1", "n2"]),
    constraints=st.sampled_from([(), ("node.role==worker",), ("node.hostname!=n3",)]),
    failed=st.sampled_from([{}, {"n2": "no"}]),
)
rules = st.builds(PlacementRules, strategy=st.sampled_from(list(Strategy)))


def by_name(placement: Placement) -> dict[str, Verdict]:
    return {one.node: one.verdict for one in placement.verdicts}


@given(needs, swarms(), rules)
def test_every_node_has_one_verdict_and_the_refused_have_reasons(
    wanted: Needs, nodes: list[NodeFacts], how: PlacementRules
) -> None:
    placement = place(wanted, nodes, how)
    assert sorted(one.node for one in placement.verdicts) == [one.name for one in nodes]
    for one in placement.verdicts:
        refused = one.verdict is Verdict.REFUSED
        assert refused == bool(one.reasons)
        assert refused == (one.score is None)
    assert (placement.chosen is not None) == (wanted.plain and bool(placement.possible))


@given(needs, swarms(), rules, st.randoms(use_true_random=False))
def test_the_order_in_which_nodes_are_listed_changes_nothing(
    wanted: Needs, nodes: list[NodeFacts], how: PlacementRules, random: Any
) -> None:
    shuffled = list(nodes)
    random.shuffle(shuffled)
    assert place(wanted, shuffled, how) == place(wanted, nodes, how)


@given(needs, swarms(), rules)
def test_the_chosen_is_the_best_and_not_one_that_was_lost_or_left_or_has_failed(
    wanted: Needs, nodes: list[NodeFacts], how: PlacementRules
) -> None:
    placement = place(wanted, nodes, how)
    scores = [one.score for one in placement.verdicts if one.score is not None]
    assert scores == sorted(scores, reverse=True)
    known = {one.name: one for one in nodes}
    if placement.chosen is not None:
        assert known[placement.chosen].ready == "True"
        assert placement.chosen != wanted.leaves
        assert placement.chosen not in wanted.failed


@given(needs, swarms().filter(bool), rules)
def test_without_the_chosen_node_the_next_one_is_chosen_and_no_other_verdict_changes(
    wanted: Needs, nodes: list[NodeFacts], how: PlacementRules
) -> None:
    before = place(wanted, nodes, how)
    if before.chosen is None:
        return
    gone = [replace(one, ready="Unknown") if one.name == before.chosen else one for one in nodes]
    after = place(wanted, gone, how)
    assert after.possible == before.possible[1:]
    others = {name: verdict for name, verdict in by_name(before).items() if name not in before.possible[:2]}
    assert others.items() <= by_name(after).items()


@given(needs, swarms(), rules, st.integers(1, 6))
def test_a_node_that_gets_worse_makes_no_other_node_possible(
    wanted: Needs, nodes: list[NodeFacts], how: PlacementRules, number: int
) -> None:
    worse = [replace(one, creates_containers=False, locations=()) if one.name == f"n{number}" else one for one in nodes]
    after = set(place(wanted, worse, how).possible)
    assert after <= set(place(wanted, nodes, how).possible)

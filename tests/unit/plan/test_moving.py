"""Whether a workload can be moved, and what the Swarm is told so that it moves that one task and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.node import NodeFacts
from swarmkeep.model.swarm import Mode, SwarmNode
from swarmkeep.model.traits import ContainerTraits
from swarmkeep.plan.moving import Scene, Side, constraints_for, obstacles
from swarmkeep.plan.placement import may_run_on

from ..objects import policy, service, task, workload

VERSIONS = {"swarmkeep": "0.1.0", "docker": "28.5.2", "runc": "1.3.6", "criu": "4.2.1", "kernel": "6.12.0-1"}
FACTS = NodeFacts(name="", versions=VERSIONS, cgroup_version=2, lazy_pages=True, cpu_features=frozenset({"sse", "avx"}))
NODES = tuple(SwarmNode(f"id{n}", f"n{n}", True, "active", n == 1, f"10.0.0.{n}") for n in range(1, 6))
TRAITS = ContainerTraits("redis:7", "sha256:1", False, False, (), (), (), False)


def side(number: int, **fields: Any) -> Side:
    name = f"n{number}"
    known: dict[str, Any] = {
        "facts": replace(FACTS, name=name),
        "ready": True,
        "lost": False,
        "swarm": NODES[number - 1],
        "locations": frozenset({"main"}),
    }
    return Side(name, **{**known, **fields})


def scene(places: tuple[int, ...] = (1,), target: Side | None = None, **fields: Any) -> Scene:
    """Slot 1 runs on n1, the further slots where `places` says; the target is n3."""
    tasks = tuple(task(slot, id=f"t{slot}", node_id=f"id{number}") for slot, number in enumerate(places, 1))
    known: dict[str, Any] = {
        "workload": workload(claim=f"n{places[0]}"),
        "policy": policy(),
        "traits": TRAITS,
        "service": service(version=7),
        "tasks": tasks,
        "nodes": NODES,
        "source": side(places[0]),
        "target": target or side(3),
    }
    return Scene(**{**known, **fields})


def test_a_workload_that_is_well_can_go_to_a_node_that_is_well() -> None:
    assert obstacles(scene(), "n3") == ()
    assert constraints_for(scene()) == ("node.id==id3",)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (scene(workload=None), "there is no such workload"),
        (scene(workload=workload(phase="Held")), "it is Held, not Running"),
        (scene(workload=workload(claim="")), "it is Running, not Running"),
        (scene(source=side(1, lost=True)), "n1, which runs it, is lost"),
        (scene(places=(3,)), "it runs on n3 already"),
        (scene(policy=None), "its policy redis is gone"),
        (scene(policy=policy(checkpoint={"onStop": False})), "checkpoint.onStop: false"),
        (scene(policy=policy(restore={"after": ["Crash"]})), "does not name Reschedule in restore.after"),
        (scene(traits=replace(TRAITS, devices=("/dev/kvm",))), "devices of its node"),
        (scene(traits=replace(TRAITS, host_namespaces=("PID",))), "process numbers"),
        (replace(scene(), target=None), "there is no node n3"),
        (scene(target=side(3, ready=False)), "n3 is not ready"),
        (scene(target=side(3, swarm=None)), "the Swarm has no node n3"),
        (scene(target=side(3, swarm=replace(NODES[2], availability="pause"))), "n3 in the Swarm is pause"),
        (scene(target=side(3, locations=frozenset({"far"}))), "n3 reaches none of the policy's locations (main)"),
        (scene(target=side(3, facts=replace(FACTS, cpu_features=frozenset({"sse"})))), "processor lacks avx"),
        (scene(target=side(3, facts=replace(FACTS, versions=VERSIONS | {"kernel": "6.1"}))), "its kernel 6.1 is older"),
        (scene(target=side(3, facts=replace(FACTS, versions=VERSIONS | {"criu": "4.1"}))), "its CRIU 4.1 is older"),
        (scene(target=side(3, facts=replace(FACTS, versions=VERSIONS | {"criu": ""}))), "CRIU is not installed"),
        (scene(target=side(3, facts=replace(FACTS, runtime="runc"))), "Docker starts containers with runc"),
        (scene(target=side(3, facts=replace(FACTS, criu_passed=False, criu_message="no"))), "criu check: no"),
        (scene(service=None), "the Swarm has no service redis"),
        (scene(service=service(mode=Mode.GLOBAL)), "its tasks stay on their nodes"),
        (scene(service=service(start_first=True)), "updates start-first"),
        (scene(service=service(update_state="updating")), "an update of redis is updating"),
        (scene(service=service(update_state="paused")), "an update of redis is paused"),
        (scene(service=service(constraints=("node.hostname!=n3",))), "(node.hostname!=n3) do not allow n3"),
        (scene(tasks=(task(1, state="starting"),)), "does not say of exactly one task"),
        (scene(tasks=(task(1, node_id="id2"),)), "runs its task elsewhere than on n1"),
        (scene(places=(1, 1)), "2 tasks of redis run on n1"),
        (scene(places=(1, 3), service=service(most_per_node=1)), "as many as --replicas-max-per-node allows"),
        (scene(places=(1, 2, 3)), "might as well choose n2"),
        (scene(places=(1, 2), service=service(spreads=True)), "placement preferences"),
        (scene(places=(1, 2), tasks=(task(1), task(2, id="t2", node_id="id2", state="preparing"))), "not all tasks"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_would_not_work_is_said_before_anything_stops(found: Scene, said: str) -> None:
    assert said in "; ".join(obstacles(found, "n3"))


def test_differences_that_do_not_matter_hold_nothing_up() -> None:
    newer = replace(FACTS, versions=VERSIONS | {"kernel": "6.13.0", "swarmkeep": "9"}, memory_tracking=False)
    more = replace(newer, cpu_features=FACTS.cpu_features | {"avx512"}, lazy_pages=False)
    assert obstacles(scene(target=side(3, facts=more)), "n3") == ()


@given(st.lists(st.integers(1, 5), min_size=0, max_size=5), st.integers(2, 5), st.sets(st.integers(1, 5)))
def test_the_constraints_leave_every_other_task_where_it_is_and_this_one_only_the_target(
    others: list[int], to: int, excluded: set[int]
) -> None:
    """What the Swarm does: tasks whose nodes do not fit any more move, to the fitting node with the fewest of them."""
    own = tuple(f"node.hostname!=n{number}" for number in sorted(excluded))
    begun = scene((1, *others), side(to), service=service(constraints=own, version=7))
    if obstacles(begun, f"n{to}"):
        return
    rules = (*own, *constraints_for(begun))
    fitting = [node for node in NODES if may_run_on(rules, node)]
    counts = {node.id: others.count(int(node.hostname[1:])) for node in fitting}
    assert "id1" not in counts, "it has to leave where it is"
    assert all(f"id{number}" in counts or number in excluded for number in others), "nobody else has to"
    least = min(counts.values())
    assert [node_id for node_id, count in counts.items() if count == least] == [f"id{to}"] or counts == {f"id{to}": 1}

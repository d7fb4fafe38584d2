"""What a workload needs of a node, gathered from objects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from swarmkeep.model.checkpoint import Checkpoint, CheckpointPhase, How, Result, Verified
from swarmkeep.model.node import PlacementFailure
from swarmkeep.model.workload import Claim
from swarmkeep.plan.host_fit import VersionNeeds
from swarmkeep.plan.needs import needs_of

from ..objects import NOW, checkpoint, policy, workload
from .placing import TRAITS, node

HOST = {"kernel": "6.12", "criu": "4.2.1", "machine": "x86_64"}
BAD = Verified(1, NOW, How.FULL, Result.DAMAGED, NOW, "", "", None)
PLAIN = replace(workload("db"), container_name="db", service_id="", service_name="")


def taken(number: int, **fields: Any) -> Checkpoint:
    return replace(checkpoint(number), host=HOST, memory_bytes=number, **fields)


def test_the_newest_good_version_decides_and_the_node_that_took_it() -> None:
    versions = [taken(1), taken(2, node="n1"), taken(3, verified=BAD), taken(4, phase=CheckpointPhase.FAILED)]
    needs = needs_of(workload(), "uid", TRAITS, policy(), versions, [node("n1", cpu_features=frozenset({"avx"}))])
    assert needs.version == VersionNeeds(2, HOST, frozenset({"avx"}), ("main",), 2)
    assert needs_of(workload(), "uid", None, None, versions[2:], []).version is None


def test_a_processor_that_nobody_knows_any_more_asks_for_nothing() -> None:
    needs = needs_of(workload(), "uid", TRAITS, policy(), [taken(1, node="gone")], [node("n1")])
    assert needs.version is not None
    assert needs.version.cpu_features == frozenset()


def test_a_task_has_the_constraints_of_its_service() -> None:
    rules = policy(placement={"constraints": ["node.role==manager"]}, restore={"pages": "Eager"})
    needs = needs_of(workload(), "uid", TRAITS, rules, [], [], constraints=["node.role==worker"])
    assert (needs.plain, needs.constraints, needs.leaves, needs.seed) == (False, ("node.role==worker",), "n1", "uid/1")
    assert needs.lazy is False


def test_the_task_of_a_global_service_leaves_no_node() -> None:
    needs = needs_of(workload(), "uid", TRAITS, policy(), [], [], bound_to="id-n1")
    assert (needs.leaves, needs.bound_to) == ("", "id-n1")


def test_a_plain_container_has_those_of_its_policy_and_what_that_takes_along() -> None:
    rules = policy(placement={"constraints": ["node.role==worker"]}, checkpoint={"volumes": ["data"]})
    failed = {"n2": PlacementFailure(PLAIN.ref, 1, "no"), "n3": PlacementFailure(PLAIN.ref, 0, "in an earlier loss")}
    needs = needs_of(PLAIN, "uid", TRAITS, rules, [], [], failed=failed)
    assert (needs.plain, needs.constraints, needs.covered) == (True, ("node.role==worker",), ("data",))
    assert needs.failed == {"n2": "no"}


def test_each_try_raises_the_epoch_and_all_that_were_made_since_the_loss_count() -> None:
    failed = {"n2": PlacementFailure(PLAIN.ref, 6, "no volume"), "n3": PlacementFailure(PLAIN.ref, 7, "no port")}
    for claim, counted in (
        (Claim("", 7), {"n2": "no volume", "n3": "no port"}),
        (Claim("n1", 7), {"n3": "no port"}),
    ):
        needs = needs_of(replace(PLAIN, claim=claim), "uid", TRAITS, policy(), [], [], failed=failed)
        assert needs.failed == counted

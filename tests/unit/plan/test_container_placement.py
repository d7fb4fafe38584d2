"""Where a plain container goes on, and why not elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from swarmkeep.model.conditions import Status
from swarmkeep.model.node import IMAGES_TOLD, Load, Network, SeenLocation, Space
from swarmkeep.model.policy import PlacementRules, Strategy
from swarmkeep.model.swarm import SwarmNode
from swarmkeep.model.traits import Mount
from swarmkeep.plan.container_placement import Verdict, given_condition, nowhere_condition, place
from swarmkeep.plan.host_fit import Needs

from .placing import GIB, NEEDS, REF, TRAITS, VERSION, node, volume

SPREAD, PACK, LOT = (PlacementRules(strategy=strategy) for strategy in Strategy)


def verdict(needs: Needs = NEEDS, others: tuple[Any, ...] = (), **fields: Any) -> tuple[Verdict, list[tuple[str, str]]]:
    """The verdict on one node, with its findings."""
    placement = place(needs, [node("n2", **fields), *others], SPREAD)
    one = next(item for item in placement.verdicts if item.node == "n2")
    return one.verdict, [(finding.code, str(finding.severity)) for finding in one.findings]


def needing(**traits: Any) -> Needs:
    return replace(NEEDS, traits=replace(TRAITS, **traits))


def test_a_node_on_which_all_is_well_is_chosen_without_a_word() -> None:
    assert verdict() == (Verdict.CHOSEN, [])


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"ready": "Unknown"}, "NotReady"),
        ({"ready": ""}, "NotReady"),
        ({"versions": {}}, "NothingReported"),
        ({"criu_passed": False}, "CriuCheckFailed"),
        ({"runtime": "runc"}, "ShimNotDefault"),
        ({"storage_driver": "vfs"}, "StorageDriver"),
        ({"cgroup_version": 0}, "NoCgroups"),
        ({"creates_containers": False}, "AgentOld"),
        ({"swarm": SwarmNode("i", "n2", True, "drain", False, "")}, "NotAvailable"),
        ({"machine": "aarch64"}, "OtherMachine"),
        ({"cpu_features": frozenset({"sse"})}, "CpuFeatures"),
        ({"locations": ()}, "NoLocation"),
        ({"locations": (SeenLocation("main", False, "no route"), SeenLocation("other", True, ""))}, "NoLocation"),
        ({"spaces": (Space("staging", "/s", 100 * GIB, GIB - 1),)}, "NoRoom"),
        ({"container_names": frozenset({"db"})}, "NameTaken"),
        ({"ports": frozenset({"5432/tcp", "22/tcp"})}, "PortTaken"),
        ({"networks": {}}, "NetworkMissing"),
        ({"networks": None}, "NetworkMissing"),
        ({"networks": {"shop": Network("overlay", "swarm", False)}}, "NetworkNotAttachable"),
        ({"load": Load(4, 16 * GIB, 12 * GIB, 3, 15 * GIB, 0)}, "Memory"),
        ({"load": Load(4, 16 * GIB, GIB - 1, 3, 0, 0)}, "MemoryInUse"),
        ({"load": Load(4, 16 * GIB, 12 * GIB, 3, 0, 3.5)}, "Cpus"),
    ],
)
def test_one_thing_that_a_node_lacks_refuses_it(fields: dict[str, Any], code: str) -> None:
    assert verdict(**fields) == (Verdict.REFUSED, [(code, "Problem")])


@pytest.mark.parametrize("program", ["criu", "kernel"])
def test_an_older_criu_refuses_and_an_older_kernel_only_raises_a_doubt(program: str) -> None:
    versions = {**node("n2").versions, program: "4.1.9" if program == "criu" else "6.11.9"}
    found = verdict(versions=versions)
    expected = {"criu": (Verdict.REFUSED, "CriuOlder"), "kernel": (Verdict.CHOSEN, "KernelOlder")}[program]
    assert (found[0], found[1][0][0]) == expected


@pytest.mark.parametrize(
    ("needs", "code", "severity"),
    [
        (needing(mounts=(volume("other"),)), "VolumeMissing", "Problem"),
        (needing(mounts=(volume("data"),)), "VolumeNotSame", "Warning"),
        (needing(mounts=(Mount("bind", "/srv", "/srv", True),)), "BindMount", "Note"),
        (needing(devices=("/dev/dri",)), "Devices", "Warning"),
        (needing(host_namespaces=("Network",)), "HostNetwork", "Note"),
        (replace(NEEDS, version=None), "NoVersion", "Problem"),
        (replace(NEEDS, leaves="n2"), "OwnNode", "Problem"),
        (replace(NEEDS, failed={"n2": "no such device"}), "FailedThere", "Problem"),
        (replace(NEEDS, constraints=("node.labels.zone==b",)), "Constraint", "Problem"),
    ],
)
def test_what_the_container_needs_decides(needs: Needs, code: str, severity: str) -> None:
    expected = Verdict.REFUSED if severity == "Problem" else Verdict.CHOSEN
    assert verdict(needs) == (expected, [(code, severity)])


@pytest.mark.parametrize(
    "needs",
    [
        needing(mounts=(volume(""), Mount("tmpfs", "", "/tmp", False))),
        replace(needing(mounts=(volume("other"),)), covered=("other",)),
        replace(needing(mounts=(Mount("bind", "/srv", "/srv", False),)), covered=("/srv",)),
        needing(memory_bytes=0, cpus=0, ports=(), networks=(), name=""),
        replace(NEEDS, constraints=("node.labels.zone==a", "node.hostname!=n1")),
        replace(NEEDS, traits=None),
    ],
)
def test_what_it_does_not_need_does_not_matter(needs: Needs) -> None:
    assert verdict(needs) == (Verdict.CHOSEN, [])


def test_all_reasons_are_told_not_only_the_first() -> None:
    placement = place(NEEDS, [node("n2", ready="False", ports=frozenset({"5432/tcp"}), locations=())], SPREAD)
    assert [reason.code for reason in placement.verdicts[0].reasons] == ["NotReady", "NoLocation", "PortTaken"]


def test_a_network_of_the_swarm_is_everywhere_though_only_one_node_shows_it() -> None:
    assert verdict(others=(node("n3", ready="False"),), networks={}) == (Verdict.CHOSEN, [])


def test_a_network_of_one_node_is_only_there() -> None:
    bridge = {"shop": Network("bridge", "local", True)}
    assert verdict(networks=bridge) == (Verdict.CHOSEN, [])
    assert verdict(others=(node("n3", networks=bridge),), networks={})[1] == [("NetworkMissing", "Problem")]


@pytest.mark.parametrize(
    ("images", "lost_images", "image", "expected"),
    [
        ({"other:1": "sha256:1"}, {}, "shop/db:1", []),
        ({}, {"shop/db@sha256:aa": "sha256:1"}, "shop/db:1", [("ImagePull", "Note")]),
        ({}, {}, "reg:5000/shop/db:1@sha256:aa", [("ImagePull", "Note")]),
        ({}, {"shop/db:1": "sha256:1"}, "shop/db:1", [("ImageMissing", "Problem")]),
        ({"shop/db:1": "sha256:2"}, {}, "shop/db:1", [("ImageMissing", "Problem")]),
        ({f"i{number}": "sha256:9" for number in range(IMAGES_TOLD)}, {}, "shop/db:1", [("ImageUnknown", "Warning")]),
    ],
)
def test_an_image_is_there_or_is_pulled_or_nobody_has_it(
    images: dict[str, str], lost_images: dict[str, str], image: str, expected: list[tuple[str, str]]
) -> None:
    lost = node("n1", ready="Unknown", images=lost_images)
    assert verdict(needing(image=image), (lost,), images=images)[1] == expected


def test_a_pinned_image_is_pulled_by_its_digest() -> None:
    placement = place(needing(image="reg:5000/shop/db:1@sha256:aa"), [node("n2", images={})], SPREAD)
    assert placement.verdicts[0].findings[0].message == "the node has to pull reg:5000/shop/db@sha256:aa first"


def test_flags_that_no_program_sees_do_not_matter() -> None:
    """VERSION has vmx, the node has not."""
    assert "vmx" in VERSION.cpu_features
    assert verdict() == (Verdict.CHOSEN, [])
    arm = replace(VERSION, host={**VERSION.host, "machine": "aarch64"}, cpu_features=frozenset({"vmx"}))
    assert verdict(replace(NEEDS, version=arm), machine="aarch64")[1] == [("CpuFeatures", "Problem")]


def loads(**running: int) -> list[Any]:
    """Nodes of which so many of 16 GiB are taken."""
    return [node(name, load=Load(4, 16 * GIB, None, 3, gib * GIB, 0)) for name, gib in running.items()]


@pytest.mark.parametrize(
    ("rules", "order"),
    [(SPREAD, ("n3", "n2", "n4")), (PACK, ("n4", "n2", "n3"))],
)
def test_spread_takes_the_emptiest_and_binpack_the_fullest_that_still_has_room(
    rules: PlacementRules, order: tuple[str, ...]
) -> None:
    placement = place(NEEDS, loads(n2=6, n3=4, n4=14, n5=15), rules)
    assert placement.possible == order
    assert placement.chosen == order[0]
    assert placement.verdicts[-1].node == "n5"


def test_the_scarcer_of_memory_and_processors_counts() -> None:
    little_cpu = node("n2", load=Load(4, 16 * GIB, None, 0, 0, 3))
    little_memory = node("n3", load=Load(4, 16 * GIB, None, 0, 8 * GIB, 0))
    assert place(NEEDS, [little_cpu, little_memory], SPREAD).chosen == "n3"
    assert place(NEEDS, [little_cpu, little_memory], PACK).chosen == "n2"


def test_memory_that_programs_use_counts_as_well() -> None:
    busy = node("n2", load=Load(4, 16 * GIB, 3 * GIB, 0, 0, 0))
    assert place(NEEDS, [busy, node("n3")], SPREAD).chosen == "n3"


@pytest.mark.parametrize("rules", [SPREAD, PACK, LOT])
def test_the_node_that_has_the_data_comes_first_whatever_the_strategy(rules: PlacementRules) -> None:
    nodes = [*loads(n2=0, n3=8, n5=13), node("n4", load=Load(4, 16 * GIB, None, 9, 13 * GIB, 0))]
    nodes[3] = replace(nodes[3], standbys={str(REF): 7})
    nodes[1] = replace(nodes[1], standbys={str(REF): 6})
    assert place(NEEDS, nodes, rules).possible[:2] == ("n4", "n3")


def test_a_node_without_doubts_comes_before_one_with_more_room() -> None:
    doubtful = node("n2", versions={**node("n2").versions, "kernel": "6.11"}, load=Load(4, 16 * GIB, None, 0, 0, 0))
    assert place(NEEDS, [doubtful, *loads(n3=12)], SPREAD).possible == ("n3", "n2")


def test_lots_differ_between_epochs_and_are_the_same_within_one() -> None:
    nodes = [node(f"n{number}") for number in range(2, 8)]
    first = [place(replace(NEEDS, seed=f"uid/{epoch}"), nodes, LOT).chosen for epoch in range(40)]
    again = [place(replace(NEEDS, seed=f"uid/{epoch}"), nodes[::-1], LOT).chosen for epoch in range(40)]
    assert first == again
    assert set(first) == {node.name for node in nodes}


def test_a_task_of_a_service_is_not_placed_and_asks_only_what_a_restore_needs() -> None:
    task = replace(NEEDS, plain=False, constraints=("node.hostname!=n3",))
    taken = {"ports": frozenset({"5432/tcp"}), "networks": {}, "creates_containers": False}
    placement = place(task, [node("n1"), node("n2", **taken), node("n3")], SPREAD)
    assert (placement.chosen, placement.possible) == (None, ("n2",))
    assert [one.node for one in placement.verdicts] == ["n2", "n1", "n3"]


def test_the_task_of_a_global_service_stays_where_it_is() -> None:
    needs = replace(NEEDS, plain=False, leaves="", bound_to="id-n2")
    placement = place(needs, [node("n1"), node("n2")], SPREAD)
    assert placement.possible == ("n2",)
    assert placement.verdicts[1].reasons[0].code == "OtherNode"


def test_a_constraint_needs_to_know_what_the_swarm_says() -> None:
    constrained = replace(NEEDS, constraints=("node.role==worker",))
    assert verdict(constrained, swarm=None)[1] == [("NotInSwarm", "Problem")]
    assert verdict(NEEDS, swarm=None) == (Verdict.CHOSEN, [])


def test_the_condition_says_node_by_node_why_none_can() -> None:
    nodes = [node("n1"), node("n2", ports=frozenset({"5432/tcp"})), node("n3", ready="Unknown", ready_message="silent")]
    condition = nowhere_condition(place(NEEDS, nodes, SPREAD))
    assert (condition.status, condition.reason) == (Status.FALSE, "NoNode")
    assert condition.message == (
        "no node can run it: n1: it is to go on without this node, which has it now; "
        "n2: the node's port 5432/tcp is taken; n3: the node is not ready: silent"
    )
    many = place(NEEDS, [node(f"n{number}", ready="False") for number in range(10, 300)], SPREAD)
    assert "and 285 more, see swarmkeep explain-placement" in nowhere_condition(many).message
    assert nowhere_condition(place(NEEDS, [], SPREAD)).message == "no node can run it: there is no node"
    assert given_condition("n2").status is Status.TRUE

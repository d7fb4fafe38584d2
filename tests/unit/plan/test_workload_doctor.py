"""What of a workload would not survive."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from swarmkeep.model.node import NodeFacts, SeenLocation
from swarmkeep.model.traits import ContainerTraits, Mount, parse_traits, traits_wire
from swarmkeep.plan.workload_doctor import WorkloadFacts, examine_container, examine_workload

from ..objects import policy

PINNED = "redis:7@sha256:aa"
TRAITS = ContainerTraits(PINNED, "sha256:1", False, False, (), (), (), False)
MAIN = (SeenLocation("main", True, ""),)
OTHER = NodeFacts("n2", "True", lazy_pages=True, images={"redis@sha256:aa": "sha256:1"}, locations=MAIN)
HERE = replace(OTHER, name="n1")
WELL = WorkloadFacts("n1", TRAITS, policy(), "", "")


def found(workload: WorkloadFacts, *nodes: NodeFacts) -> list[tuple[str, str]]:
    examined = examine_workload(workload, nodes or (HERE, OTHER))
    return [(finding.code, str(finding.severity)) for finding in examined]


def with_traits(**fields: Any) -> WorkloadFacts:
    return replace(WELL, traits=replace(TRAITS, **fields))


def test_a_workload_that_is_well_has_no_findings() -> None:
    assert found(WELL) == []


@pytest.mark.parametrize(
    ("traits", "code", "severity"),
    [
        ({"devices": ("/dev/dri",)}, "Devices", "Problem"),
        ({"host_namespaces": ("PID",)}, "HostPid", "Problem"),
        ({"host_namespaces": ("IPC",)}, "HostIpc", "Problem"),
        ({"host_namespaces": ("Network",)}, "HostNetwork", "Warning"),
        ({"host_namespaces": ("UTS",)}, "HostUts", "Note"),
        ({"privileged": True}, "Privileged", "Note"),
        ({"tty": True}, "Tty", "Note"),
        ({"own_environment": ("NODE",)}, "OwnEnvironment", "Warning"),
        ({"health_patience_s": 5.0}, "HealthCheckTight", "Warning"),
        ({"connections": True}, "ConnectionsClose", "Note"),
        ({"mounts": (Mount("bind", "/srv", "/data", False),)}, "BindMount", "Warning"),
        ({"mounts": (Mount("bind", "/srv", "/data", True),)}, "BindMountReadOnly", "Note"),
        ({"mounts": (Mount("volume", "data", "/data", False),)}, "VolumeNotCovered", "Warning"),
        ({"mounts": (Mount("volume", "", "/data", False),)}, "AnonymousVolume", "Warning"),
    ],
)
def test_one_trait_is_one_finding(traits: dict[str, Any], code: str, severity: str) -> None:
    assert found(with_traits(**traits)) == [(code, severity)]


def test_a_health_check_that_outlasts_the_longest_freeze_is_no_finding() -> None:
    assert found(with_traits(health_patience_s=5.1)) == []


def test_a_tmpfs_is_part_of_a_version() -> None:
    assert found(with_traits(mounts=(Mount("tmpfs", "", "/tmp", False),))) == []


@pytest.mark.parametrize(
    ("wishes", "mounts", "codes"),
    [
        (["data"], [Mount("volume", "data", "/data", False)], []),
        (["other"], [Mount("volume", "data", "/data", False)], ["VolumeNotCovered"]),
        (["data"], [Mount("volume", "data", "/d", False), Mount("volume", "log", "/l", False)], ["VolumeNotCovered"]),
        (["*"], [Mount("volume", "data", "/data", False), Mount("volume", "log", "/log", False)], []),
        (["*"], [Mount("volume", "data", "/data", True)], ["VolumeNotCovered"]),
        (["data"], [Mount("volume", "data", "/data", True)], []),
        (["*"], [Mount("bind", "/srv", "/data", False)], ["BindMount"]),
        (["/srv"], [Mount("bind", "/srv", "/data", False)], []),
        (["/srv"], [Mount("bind", "/srv/x", "/data", True)], ["BindMountReadOnly"]),
        # Docker makes up another name for every container.
        (["*"], [Mount("volume", "", "/data", False)], ["AnonymousVolume"]),
    ],
)
def test_what_the_policy_takes_along_is_no_finding(wishes: list[str], mounts: list[Mount], codes: list[str]) -> None:
    workload = replace(with_traits(mounts=tuple(mounts)), policy=policy(checkpoint={"volumes": wishes}))
    assert [code for code, _ in found(workload)] == codes


def test_an_uncovered_volume_comes_with_the_words_what_to_do() -> None:
    (finding,) = examine_container(replace(TRAITS, mounts=(Mount("volume", "data", "/data", False),)), policy())
    assert "name them in checkpoint.volumes" in str(finding)


def test_connections_keep_versions_from_being_taken_where_the_policy_refuses_them() -> None:
    refusing = policy(checkpoint={"tcp": "Refuse"})
    assert found(replace(with_traits(connections=True), policy=refusing)) == [("ConnectionsRefused", "Warning")]
    assert found(replace(WELL, policy=refusing)) == []


@pytest.mark.parametrize(
    ("image", "there", "expected"),
    [
        (PINNED, {"redis@sha256:aa": "sha256:1"}, []),
        (PINNED, {"redis@sha256:bb": "sha256:2"}, [("ImageNotThere", "Note")]),
        # An agent that does not report images says nothing.
        (PINNED, {}, []),
        ("localhost:5000/redis@sha256:aa", {"localhost:5000/redis@sha256:aa": "sha256:1"}, []),
        ("redis:7", {"redis:7": "sha256:1"}, [("ImageNotPinned", "Warning")]),
        ("redis:7", {"redis:7": "sha256:2"}, [("ImageDiffers", "Problem"), ("ImageNotPinned", "Warning")]),
        # It has the right one as well, but the name leads to the other.
        (
            "redis:7",
            {"redis:7": "sha256:2", "redis:6": "sha256:1"},
            [("ImageDiffers", "Problem"), ("ImageNotPinned", "Warning")],
        ),
        ("redis:7", {"nginx:1": "sha256:3"}, [("ImageNotPinned", "Warning"), ("ImageNotThere", "Note")]),
        ("redis", {"redis:latest": "sha256:2"}, [("ImageDiffers", "Problem"), ("ImageNotPinned", "Warning")]),
        ("redis", {"redis:latest": "sha256:1"}, [("ImageNotPinned", "Warning")]),
    ],
)
def test_images_are_compared_between_nodes(image: str, there: dict[str, str], expected: list[tuple[str, str]]) -> None:
    assert found(with_traits(image=image), HERE, replace(OTHER, images=there)) == expected


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ((HERE,), [("NoOtherNode", "Problem")]),
        ((HERE, replace(OTHER, ready="Unknown")), [("NoOtherNode", "Problem")]),
        ((HERE, replace(OTHER, locations=())), [("NoOtherNode", "Problem")]),
        ((HERE, replace(OTHER, locations=(SeenLocation("main", False, ""),))), [("NoOtherNode", "Problem")]),
        ((HERE, replace(OTHER, lazy_pages=False)), [("LazyPagesMissing", "Note")]),
    ],
)
def test_it_needs_another_node_that_can_restore_it(
    nodes: tuple[NodeFacts, ...], expected: list[tuple[str, str]]
) -> None:
    assert found(WELL, *nodes) == expected


def test_a_node_that_reaches_any_of_the_locations_can_restore_it() -> None:
    twice = replace(WELL, policy=policy(storage=["main", "far"]))
    assert found(twice, HERE, replace(OTHER, locations=(SeenLocation("far", True, ""),))) == []


def test_a_policy_that_restores_eagerly_needs_no_lazy_pages() -> None:
    eager = replace(WELL, policy=policy(restore={"pages": "Eager"}))
    assert found(eager, HERE, replace(OTHER, lazy_pages=False)) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"unprotected": "version 3 is older than 30 s"}, [("Unprotected", "Problem")]),
        ({"unprotected": "version 3 is old", "failure": "a socket"}, [("VersionsFail", "Problem")]),
        ({"policy": None, "unprotected": "x"}, [("NoPolicy", "Problem")]),
        ({"traits": None}, [("NotRunning", "Note")]),
    ],
)
def test_whether_it_is_protected_at_all(fields: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert found(replace(WELL, **fields)) == expected


def test_the_findings_name_what_they_speak_of() -> None:
    mounts = tuple(Mount("bind", f"/srv/{number}", f"/{number}", False) for number in range(6))
    [finding] = examine_container(replace(TRAITS, mounts=mounts), None)
    assert "/srv/0 at /0, /srv/1 at /1, /srv/2 at /2, /srv/3 at /3 and 2 more" in finding.message
    assert str(finding).endswith("as on a shared file system")


def test_traits_are_read_as_they_were_written() -> None:
    traits = ContainerTraits(
        "a",
        "b",
        True,
        True,
        ("PID",),
        ("/dev/x",),
        (Mount("bind", "/a", "/b", True),),
        connections=True,
        health_patience_s=1.5,
        own_environment=("NODE",),
    )
    assert parse_traits({"status": {"container": {"traits": traits_wire(traits)}}}) == traits
    assert parse_traits({"status": {"container": None}}) is None
    assert parse_traits({}) is None


@pytest.mark.parametrize(
    ("fixed", "code", "severity"), [(True, "ConnectionsStay", "Note"), (False, "AddressChanges", "Warning")]
)
def test_connections_stay_only_with_a_fixed_address(fixed: bool, code: str, severity: str) -> None:
    traits = replace(TRAITS, connections=True, fixed_address=fixed)
    rules = policy(selector={"container": "db"}, checkpoint={"tcp": "Established"})
    found = [(finding.code, str(finding.severity)) for finding in examine_container(traits, rules)]
    assert found == [(code, severity)]

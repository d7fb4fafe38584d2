"""What is wrong with a node, in words that say what to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from swarmkeep.model.node import NodeFacts, SeenLocation, Space, parse_node
from swarmkeep.plan.findings import Finding, Severity, is_bad, note, problem, warning, worst_first
from swarmkeep.plan.node_doctor import SeenLease, examine_node

from ..objects import NOW, ago

GIB = 1 << 30
VERSIONS = {"swarmkeep": "0.1.0", "docker": "28.5.2", "runc": "1.3.6", "criu": "4.2.1", "kernel": "6.12.0-1"}
WELL = NodeFacts(
    name="n1",
    ready="True",
    versions=VERSIONS,
    lazy_pages=True,
    memory_tracking=True,
    cgroup_version=2,
    runtime="/opt/swarmkeep/bin/swarmkeep-runtime",
    storage_driver="overlay2",
    criu_passed=True,
    cpu_features=frozenset({"avx", "sse"}),
    clock_offset_s=0.0,
    spaces=(Space("staging", "/s", 100 * GIB, 60 * GIB),),
    locations=(SeenLocation("main", True, "", Space("main", "/shared", 100 * GIB, 50 * GIB)),),
)
LEASE = SeenLease(ago(3), timedelta(seconds=15))


def found(node: NodeFacts, *others: NodeFacts, lease: SeenLease | None = LEASE) -> list[tuple[str, str]]:
    return [(finding.code, str(finding.severity)) for finding in examine_node(node, others, lease, NOW)]


def message(node: NodeFacts, *others: NodeFacts) -> str:
    return str(examine_node(node, others, LEASE, NOW)[0])


def versions(**changed: str) -> dict[str, Any]:
    return {"versions": {**VERSIONS, **changed}}


def test_a_node_that_is_well_has_no_findings_alone_or_among_its_like() -> None:
    assert found(WELL) == []
    assert found(WELL, replace(WELL, name="n2"), replace(WELL, name="n3")) == []


@pytest.mark.parametrize(
    ("fields", "code", "severity"),
    [
        ({"ready": "False", "ready_message": "the Swarm says it is down"}, "NotReady", "Problem"),
        ({"ready": "Unknown"}, "NotReady", "Problem"),
        (versions(criu=""), "CriuMissing", "Problem"),
        (versions(criu="3.17.1"), "CriuOld", "Warning"),
        ({"criu_passed": False, "criu_message": "Error (x)"}, "CriuCheckFailed", "Problem"),
        (versions(runc=""), "RuncMissing", "Problem"),
        (versions(runc="1.0.3"), "RuncOld", "Warning"),
        (versions(docker=""), "DockerSilent", "Problem"),
        (versions(docker="29.0.1"), "DockerUntried", "Note"),
        ({"runtime": "runc"}, "ShimNotDefault", "Problem"),
        ({"runtime": "/usr/bin/swarmkeep-runtime-old"}, "ShimNotDefault", "Problem"),
        ({"runtime": ""}, "ShimNotDefault", "Problem"),
        ({"storage_driver": "overlayfs"}, "StorageDriver", "Problem"),
        ({"cgroup_version": 0}, "NoCgroups", "Problem"),
        ({"lazy_pages": False}, "NoLazyPages", "Warning"),
        ({"memory_tracking": False}, "NoMemoryTracking", "Note"),
        ({"clock_offset_s": 3.0}, "ClockOff", "Warning"),
        ({"clock_offset_s": -60.0}, "ClockOff", "Warning"),
        ({"spaces": (Space("staging", "/s", 100 * GIB, 9 * GIB),)}, "SpaceLow", "Warning"),
        ({"spaces": (Space("staging", "/s", 100 * GIB, GIB),)}, "SpaceLow", "Problem"),
        (
            {"locations": (SeenLocation("main", True, "", Space("main", "/shared", 100 * GIB, 0)),)},
            "StorageLow",
            "Problem",
        ),
        ({"locations": (SeenLocation("main", False, "not mounted"),)}, "LocationUnreachable", "Problem"),
        ({"locations": (SeenLocation("main", True, "no conditional writes"),)}, "LocationNote", "Note"),
    ],
)
def test_one_thing_that_is_wrong_is_one_finding(fields: dict[str, Any], code: str, severity: str) -> None:
    assert found(replace(WELL, **fields)) == [(code, severity)]


@pytest.mark.parametrize(
    "fields",
    [
        {"runtime": None},
        {"storage_driver": None},
        {"criu_passed": None},
        {"clock_offset_s": None},
        {"clock_offset_s": 2.0},
        {"cpu_features": frozenset()},
        {"spaces": (Space("staging", "/s", 0, 0),)},
        {"spaces": ()},
        versions(criu="4.10"),
        versions(docker="unknown"),
    ],
)
def test_what_is_not_reported_is_not_held_against_a_node(fields: dict[str, Any]) -> None:
    assert found(replace(WELL, **fields)) == []


@pytest.mark.parametrize(
    ("lease", "offset_s", "expected"),
    [
        (None, 0.0, [("NoLease", "Problem")]),
        (SeenLease(ago(16), timedelta(seconds=15)), 0.0, []),
        (SeenLease(ago(17), timedelta(seconds=15)), 0.0, [("AgentSilent", "Problem")]),
        # Its clock is behind: what it wrote looks older than it is.
        (SeenLease(ago(30), timedelta(seconds=15)), -28.0, [("ClockOff", "Warning")]),
        # Ahead: it looks younger.
        (SeenLease(ago(5), timedelta(seconds=15)), 20.0, [("AgentSilent", "Problem"), ("ClockOff", "Warning")]),
    ],
)
def test_a_lease_is_judged_by_the_servers_clock(
    lease: SeenLease | None, offset_s: float, expected: list[tuple[str, str]]
) -> None:
    assert found(replace(WELL, clock_offset_s=offset_s), lease=lease) == expected


def test_a_node_of_which_nothing_was_reported_is_said_once() -> None:
    assert found(NodeFacts("n9"), WELL, lease=None) == [("NoLease", "Problem"), ("NothingReported", "Problem")]


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ({}, {"cpu_features": frozenset({"avx", "sse", "avx512f"})}, "its processor lacks avx512f, unlike n2"),
        (versions(kernel="6.1.0"), {}, "its kernel 6.1.0 is older than that of n2 (6.12.0-1)"),
        (versions(criu="4.2"), versions(criu="4.3"), "its CRIU 4.2 is older than that of n2 (4.3)"),
        ({}, versions(swarmkeep="0.2.0"), "its agent is version 0.1.0, others are 0.2.0"),
    ],
)
def test_differences_between_nodes_are_told_on_the_one_that_lacks_something(
    mine: dict[str, Any], theirs: dict[str, Any], expected: str
) -> None:
    one, two = replace(WELL, **mine), replace(WELL, name="n2", **theirs)
    assert message(one, two).startswith(expected)
    if "agent" not in expected:
        assert found(two, one) == []


def test_the_advice_follows_what_is_so() -> None:
    assert message(replace(WELL, runtime="runc")) == (
        "Docker starts containers with runc: nothing is restored here, and nothing saved at a stop; "
        "make swarmkeep-runtime the default-runtime in /etc/docker/daemon.json and reload Docker"
    )


def test_the_worst_comes_first_and_notes_alone_are_fine() -> None:
    findings: list[Finding] = [note("a", ""), problem("b", ""), warning("c", ""), problem("d", "")]
    assert [finding.code for finding in worst_first(findings)] == ["b", "d", "c", "a"]
    assert is_bad([note("a", ""), warning("c", "")])
    assert not is_bad([note("a", "")])
    assert not is_bad([])
    assert {finding.severity for finding in findings} == set(Severity)


def test_a_node_object_is_read_with_all_and_with_nothing() -> None:
    obj = {
        "metadata": {"name": "n1"},
        "status": {
            "versions": VERSIONS,
            "features": {"lazyPages": True, "memoryTracking": True, "cgroupVersion": 2},
            "runtime": {"name": "swarmkeep", "path": "/opt/swarmkeep/bin/swarmkeep-runtime"},
            "storageDriver": "overlay2",
            "criuCheck": {"passed": True, "message": ""},
            "cpuFeatures": ["avx", "sse"],
            "clockOffsetSeconds": 0.0,
            "disks": [{"name": "staging", "path": "/s", "totalBytes": 100 * GIB, "freeBytes": 60 * GIB}],
            "images": [{"name": "redis:7", "id": "sha256:a"}],
            "locations": [
                {
                    "name": "main",
                    "reachable": True,
                    "disk": {"path": "/shared", "totalBytes": 100 * GIB, "freeBytes": 50 * GIB},
                }
            ],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    assert parse_node(obj) == replace(WELL, images={"redis:7": "sha256:a"})
    assert parse_node({"metadata": {"name": "n9"}}) == NodeFacts("n9")

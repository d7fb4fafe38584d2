"""Node: what an agent has found out about the machine that it runs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from swarmkeep.model.conditions import find_condition
from swarmkeep.model.wire import Object, section


@dataclass(frozen=True, slots=True)
class Space:
    """Room on a file system, to a hundredth of it."""

    name: str
    """What it is for: `staging`, `state`, or a StorageLocation."""
    path: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class SeenLocation:
    """A StorageLocation as the node sees it."""

    name: str
    reachable: bool
    message: str
    space: Space | None = None
    """None for what has no end, as a bucket."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A Node as judgements need it. What its agent has not reported, since it is older, is None or empty."""

    name: str
    ready: str = ""
    """Status of the condition Ready; empty when nobody has judged yet."""
    ready_message: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    """By program; empty text when it is not there or does not answer."""
    lazy_pages: bool = False
    memory_tracking: bool = False
    cgroup_version: int = 0
    """0 when they are not mounted."""
    runtime: str | None = None
    """Path of the OCI runtime that Docker uses by default."""
    storage_driver: str | None = None
    criu_passed: bool | None = None
    """What `criu check` says."""
    criu_message: str = ""
    cpu_features: frozenset[str] = frozenset()
    clock_offset_s: float | None = None
    """How far its clock is ahead of the API server's."""
    spaces: tuple[Space, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    """Image ids by name, by tag as well as by digest."""
    locations: tuple[SeenLocation, ...] = ()


def parse_node(obj: Object) -> NodeFacts:
    """Reads a Node that passed schema validation."""
    status = section(obj, "status")
    ready = find_condition(status.get("conditions") or (), "Ready") or {}
    features, check = section(status, "features"), section(status, "criuCheck")
    return NodeFacts(
        name=section(obj, "metadata")["name"],
        ready=ready.get("status", ""),
        ready_message=ready.get("message", ""),
        versions=dict(section(status, "versions")),
        lazy_pages=features.get("lazyPages", False),
        memory_tracking=features.get("memoryTracking", False),
        cgroup_version=features.get("cgroupVersion", 0),
        runtime=section(status, "runtime").get("path"),
        storage_driver=status.get("storageDriver"),
        criu_passed=check.get("passed"),
        criu_message=check.get("message", ""),
        cpu_features=frozenset(status.get("cpuFeatures") or ()),
        clock_offset_s=status.get("clockOffsetSeconds"),
        spaces=tuple(_space(item["name"], item) for item in status.get("disks") or ()),
        images={item["name"]: item["id"] for item in status.get("images") or ()},
        locations=tuple(map(_location, status.get("locations") or ())),
    )


def _space(name: str, raw: Mapping[str, Any]) -> Space:
    return Space(name, raw.get("path", ""), raw.get("totalBytes", 0), raw.get("freeBytes", 0))


def _location(raw: Mapping[str, Any]) -> SeenLocation:
    disk = section(raw, "disk")
    return SeenLocation(
        raw["name"], raw["reachable"], raw.get("message", ""), _space(raw["name"], disk) if disk else None
    )

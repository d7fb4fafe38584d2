"""Node: what an agent has found out about the machine that it runs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from swarmkeep.model.conditions import find_condition
from swarmkeep.model.ident import Ref
from swarmkeep.model.swarm import SwarmNode
from swarmkeep.model.wire import Object, section

IMAGES_TOLD = 300
"""Names of images on a node's report, so that it stays small: one with so many has more than it tells."""


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
class Network:
    """A network that a node's Docker knows."""

    driver: str
    scope: str
    """`local`, or `swarm` for one that all nodes have."""
    attachable: bool
    """Whether plain containers may be on it."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a node has, and what of it is taken."""

    cpus: int = 0
    """Processors; 0 when not reported, as everywhere here."""
    memory_bytes: int = 0
    free_memory_bytes: int | None = None
    """What programs could get now, to a sixteenth of all."""
    running: int = 0
    """Containers that run, Swarm's tasks included."""
    taken_memory_bytes: int = 0
    """Reservations of containers, and limits of plain containers without one."""
    taken_cpus: float = 0


@dataclass(frozen=True, slots=True)
class SeenContainer:
    """A plain container that policies select, as its node's agent reports it."""

    node: str
    name: str
    id: str
    running: bool
    policies: tuple[Ref, ...]
    """Those that select it; the first has it."""


@dataclass(frozen=True, slots=True)
class PlacementFailure:
    """A plain container that was sent to a node and could not be started there."""

    workload: Ref
    epoch: int
    """Of the placement."""
    message: str


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
    swarm: SwarmNode | None = None
    """What the Swarm's managers say of it; None when they do not have it, or nobody has asked yet."""
    machine: str = ""
    """Processor architecture."""
    creates_containers: bool = False
    """Its agent can make a plain container out of a version."""
    load: Load = Load()
    volumes: frozenset[str] | None = None
    networks: Mapping[str, Network] | None = None
    container_names: frozenset[str] = frozenset()
    """Of plain containers."""
    ports: frozenset[str] = frozenset()
    """Ports of the node that are taken, as `8080/tcp`."""
    standbys: Mapping[str, int] = field(default_factory=dict)
    """Versions that it keeps ready, by workload as `namespace/name`."""


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
        swarm=_swarm(section(status, "swarm")),
        machine=status.get("machine", ""),
        creates_containers=features.get("createsContainers", False),
        load=_load(section(status, "capacity"), section(status, "taken")),
        volumes=frozenset(status["volumes"]) if "volumes" in status else None,
        networks={item["name"]: _network(item) for item in status["networks"]} if "networks" in status else None,
        container_names=frozenset(section(status, "taken").get("names") or ()),
        ports=frozenset(section(status, "taken").get("ports") or ()),
        standbys={
            item["workload"]: item["version"]
            for item in status.get("standbys") or ()
            if item.get("version") is not None
        },
    )


def swarm_wire(node: SwarmNode) -> dict[str, Any]:
    """`status.swarm`. Labels are a list, so that a merge leaves none that is gone."""
    return {
        "id": node.id,
        "hostname": node.hostname,
        "role": "manager" if node.manager else "worker",
        "availability": node.availability,
        "address": node.address,
        "labels": [f"{name}={value}" for name, value in sorted(node.labels.items())],
    }


def parse_containers(obj: Object) -> tuple[SeenContainer, ...]:
    """The plain containers that a Node reports."""
    node = section(obj, "metadata")["name"]
    return tuple(
        SeenContainer(node, item["name"], item["id"], item["running"], tuple(map(Ref.parse, item["policies"])))
        for item in section(obj, "status").get("containers") or ()
    )


def parse_placement_failures(obj: Object) -> tuple[PlacementFailure, ...]:
    """What a Node says of plain containers that were sent to it in vain."""
    return tuple(
        PlacementFailure(Ref.parse(item["workload"]), item["epoch"], item["message"])
        for item in section(obj, "status").get("placements") or ()
    )


def _space(name: str, raw: Mapping[str, Any]) -> Space:
    return Space(name, raw.get("path", ""), raw.get("totalBytes", 0), raw.get("freeBytes", 0))


def _location(raw: Mapping[str, Any]) -> SeenLocation:
    disk = section(raw, "disk")
    return SeenLocation(
        raw["name"], raw["reachable"], raw.get("message", ""), _space(raw["name"], disk) if disk else None
    )


def _swarm(raw: Mapping[str, Any]) -> SwarmNode | None:
    if "hostname" not in raw:
        return None
    return SwarmNode(
        id=raw.get("id", ""),
        hostname=raw["hostname"],
        # Whether it lives is in the condition Ready.
        ready=True,
        availability=raw.get("availability", "active"),
        manager=raw.get("role") == "manager",
        address=raw.get("address", ""),
        labels={name: value for name, _, value in (label.partition("=") for label in raw.get("labels") or ())},
    )


def _load(capacity: Mapping[str, Any], taken: Mapping[str, Any]) -> Load:
    return Load(
        cpus=capacity.get("cpus", 0),
        memory_bytes=capacity.get("memoryBytes", 0),
        free_memory_bytes=capacity.get("freeMemoryBytes"),
        running=taken.get("running", 0),
        taken_memory_bytes=taken.get("memoryBytes", 0),
        taken_cpus=taken.get("cpus", 0),
    )


def _network(raw: Mapping[str, Any]) -> Network:
    return Network(raw.get("driver", ""), raw.get("scope", "local"), raw.get("attachable", False))

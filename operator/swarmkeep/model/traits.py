"""What of a container's configuration decides whether its state survives elsewhere, as its agent reports it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swarmkeep.model.wire import Object, section


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of a container."""

    type: str
    """Docker's word: bind, volume, tmpfs, ..."""
    source: str
    """A path of the node, or a volume's name; empty for a volume that Docker has made up a name for."""
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class ContainerTraits:
    """One container's."""

    image: str
    """As the service names it."""
    image_id: str
    """Digest of the image's configuration: the same on every node."""
    tty: bool
    privileged: bool
    host_namespaces: tuple[str, ...]
    """Of Network, PID, IPC, UTS those that are the node's."""
    devices: tuple[str, ...]
    mounts: tuple[Mount, ...]
    connections: bool
    """Whether it was seen with established TCP connections."""
    name: str = ""
    """The container's name; a task's is made up by the Swarm."""
    networks: tuple[str, ...] = ()
    """Names of the networks that it is on, without those that every Docker has."""
    ports: tuple[str, ...] = ()
    """Ports of the node that it publishes, as `8080/tcp`."""
    memory_bytes: int = 0
    """The memory that is set aside for it: its reservation, else its limit; 0 when it has neither."""
    cpus: float = 0
    """The processors that it may use at most; 0 when that is not limited."""
    health_patience_s: float = 0
    """How long it may stand still before its health check calls it unhealthy; 0 when it has none."""
    own_environment: tuple[str, ...] = ()
    """Environment variables that name its task or its node: the next task has others."""
    fixed_address: bool = False
    """Whether it has asked for an address of its own on each of its networks."""


def traits_wire(traits: ContainerTraits) -> dict[str, Any]:
    """`status.container.traits`; every field is there, so that a merge leaves nothing of another container."""
    return {
        "image": traits.image,
        "imageID": traits.image_id,
        "tty": traits.tty,
        "privileged": traits.privileged,
        "hostNamespaces": list(traits.host_namespaces),
        "devices": list(traits.devices),
        "mounts": [
            {"type": mount.type, "source": mount.source, "target": mount.target, "readOnly": mount.read_only}
            for mount in traits.mounts
        ],
        "connections": traits.connections,
        "name": traits.name,
        "networks": list(traits.networks),
        "ports": list(traits.ports),
        "memoryBytes": traits.memory_bytes,
        "cpus": traits.cpus,
        "healthPatienceSeconds": traits.health_patience_s,
        "ownEnvironment": list(traits.own_environment),
        "fixedAddress": traits.fixed_address,
    }


def parse_traits(workload: Object) -> ContainerTraits | None:
    """The traits in a Workload that passed schema validation; None when no agent has reported them."""
    raw = section(workload, "status", "container", "traits")
    if not raw:
        return None
    return ContainerTraits(
        image=raw.get("image", ""),
        image_id=raw.get("imageID", ""),
        tty=raw.get("tty", False),
        privileged=raw.get("privileged", False),
        host_namespaces=tuple(raw.get("hostNamespaces") or ()),
        devices=tuple(raw.get("devices") or ()),
        mounts=tuple(map(_mount, raw.get("mounts") or ())),
        connections=raw.get("connections", False),
        name=raw.get("name", ""),
        networks=tuple(raw.get("networks") or ()),
        ports=tuple(raw.get("ports") or ()),
        memory_bytes=raw.get("memoryBytes", 0),
        cpus=raw.get("cpus", 0),
        health_patience_s=raw.get("healthPatienceSeconds", 0),
        own_environment=tuple(raw.get("ownEnvironment") or ()),
        fixed_address=raw.get("fixedAddress", False),
    )


def _mount(raw: Mapping[str, Any]) -> Mount:
    return Mount(raw.get("type", ""), raw.get("source", ""), raw.get("target", ""), raw.get("readOnly", False))

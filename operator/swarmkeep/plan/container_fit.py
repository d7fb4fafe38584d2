"""What keeps a node from running a plain container beside what keeps it from restoring its version. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from swarmkeep.model.node import NodeFacts
from swarmkeep.model.quantity import format_bytes
from swarmkeep.model.traits import ContainerTraits
from swarmkeep.plan.findings import Finding, note, problem, warning
from swarmkeep.plan.host_fit import Needs, Surroundings, some
from swarmkeep.plan.volumes import is_covered


def container_findings(node: NodeFacts, needs: Needs, around: Surroundings) -> Iterator[Finding]:
    """All that speaks against the node, as host_findings has it."""
    if not node.creates_containers:
        yield problem("AgentOld", "its agent cannot create plain containers", "upgrade SwarmKeep there")
    if node.name in needs.failed:
        yield problem("FailedThere", f"the node has tried and could not: {needs.failed[node.name]}")
    if needs.version is None:
        text = "there is no good version of it that a container could be made of"
        yield problem("NoVersion", text, "see swarmkeep history")
    if needs.traits is None:
        return
    yield from _occupied(node, needs.traits)
    yield from _mounts(node, needs.traits, needs)
    yield from _networks(node, needs.traits, around)
    yield from _resources(node, needs.traits, needs)
    if needs.traits.devices:
        text = f"whether the node has the devices {some(needs.traits.devices)} is seen only when it is created"
        yield warning("Devices", text)


def demand_bytes(needs: Needs) -> int:
    """The memory to be set aside for it; what its newest version has when it asks for nothing."""
    asked = needs.traits.memory_bytes if needs.traits else 0
    return asked or (needs.version.memory_bytes if needs.version else 0)


def _occupied(node: NodeFacts, traits: ContainerTraits) -> Iterator[Finding]:
    if traits.name and traits.name in node.container_names:
        text = f"the node has another container with the name {traits.name}"
        yield problem("NameTaken", text, "rename or remove that one")
    if taken := [port for port in traits.ports if port in node.ports]:
        yield problem("PortTaken", f"the node's {_ports(taken)} taken", "free it there")


def _ports(taken: Sequence[str]) -> str:
    return f"port {taken[0]} is" if len(taken) == 1 else f"ports {some(taken)} are"


def _mounts(node: NodeFacts, traits: ContainerTraits, needs: Needs) -> Iterator[Finding]:
    outside = [mount for mount in traits.mounts if mount.source and not is_covered(mount, needs.covered)]
    left = sorted({mount.source for mount in outside if mount.type == "volume"})
    missing = [name for name in left if name not in (node.volumes or ())]
    if missing:
        text = (
            f"the node does not have the volume {some(missing)}, which is not part of its versions: it would be empty"
        )
        yield problem("VolumeMissing", text, "have it taken along (checkpoint.volumes), or make it on the node")
    elif left:
        yield warning("VolumeNotSame", f"the node has a volume {some(left)}; whether with the same data nobody knows")
    if binds := sorted({mount.source for mount in outside if mount.type == "bind"}):
        yield note("BindMount", f"the node needs {some(binds)}, which is seen only when the container is created")


def _networks(node: NodeFacts, traits: ContainerTraits, around: Surroundings) -> Iterator[Finding]:
    if "Network" in traits.host_namespaces:
        yield note("HostNetwork", "it uses its node's network: after a move its addresses are others")
    for name in traits.networks:
        attachable = around.swarm_networks.get(name)
        if attachable is False:
            text = f"the network {name} does not take plain containers"
            yield problem("NetworkNotAttachable", text, "make it with --attachable")
        elif attachable is None and name not in (node.networks or {}):
            yield problem("NetworkMissing", f"the node has no network {name}", f"docker network create {name} there")


def _resources(node: NodeFacts, traits: ContainerTraits, needs: Needs) -> Iterator[Finding]:
    load = node.load
    memory = needs.version.memory_bytes if needs.version else 0
    if load.free_memory_bytes is not None and memory > load.free_memory_bytes:
        text = (
            f"it has {format_bytes(memory)} of memory, and the node about {format_bytes(load.free_memory_bytes)} free"
        )
        yield problem("MemoryInUse", text, "end something there")
    asked = traits.memory_bytes
    if load.memory_bytes and asked and asked > (left := max(0, load.memory_bytes - load.taken_memory_bytes)):
        text = (
            f"it asks for {format_bytes(asked)} of memory; of the node's {format_bytes(load.memory_bytes)} other"
            f" containers leave {format_bytes(left)}"
        )
        yield problem("Memory", text, "free some there, or ask for less")
    if load.cpus and traits.cpus and traits.cpus > (free := max(0.0, load.cpus - load.taken_cpus)):
        text = f"it may use {traits.cpus:g} processors; of the node's {load.cpus} other containers leave {free:g}"
        yield problem("Cpus", text, "free some there, or ask for less")

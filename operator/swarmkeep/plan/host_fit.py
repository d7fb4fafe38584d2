"""What keeps a node from going on with a workload's newest version, whoever would send it there. Pure.

Used for plain containers, which SwarmKeep places, and to explain where a service's task could be restored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from swarmkeep.model.ident import Ref
from swarmkeep.model.node import IMAGES_TOLD, NodeFacts
from swarmkeep.model.quantity import format_bytes
from swarmkeep.model.traits import ContainerTraits
from swarmkeep.plan.cpu_features import missing_features
from swarmkeep.plan.findings import Finding, note, problem, warning
from swarmkeep.plan.node_doctor import older_than, unfit_to_restore
from swarmkeep.plan.placement import unmet

_NAMED = 6


@dataclass(frozen=True, slots=True)
class VersionNeeds:
    """What one version asks of the node that restores it. What is not known is empty or 0."""

    number: int
    host: Mapping[str, str]
    """What it was taken on: kernel, criu, runc, machine."""
    cpu_features: frozenset[str] = frozenset()
    """Of the node that it was taken on."""
    locations: tuple[str, ...] = ()
    """StorageLocations that have all of it."""
    memory_bytes: int = 0
    """Size of its memory image."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Everything about a workload that decides where it can go on."""

    workload: Ref
    plain: bool
    """It is a plain container. A service's task is placed by Swarm."""
    seed: str = ""
    """Chooses where all else is equal: the workload's uid and its claim's epoch."""
    leaves: str = ""
    """The node that it is to go on without: where it runs, or ran; empty for none."""
    bound_to: str = ""
    """Swarm's id of the only node that it may be on, as the task of a global service; empty for any."""
    constraints: tuple[str, ...] = ()
    """Of its service, or of its policy if it is a plain container."""
    traits: ContainerTraits | None = None
    """None when no agent has reported its container."""
    version: VersionNeeds | None = None
    """Its newest good version; None when there is none."""
    lazy: bool = True
    """Its memory is to be restored on demand."""
    covered: tuple[str, ...] = ()
    """What its policy takes along of its mounts, as plan.volumes.is_covered wants it."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Nodes that have been asked to run it and could not, with what they say."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all nodes together say that matters for each of them."""

    image_source: str | None
    """The name with a digest by which a registry gives out the very image; None for one that only nodes have."""
    swarm_networks: Mapping[str, bool]
    """The networks of the whole Swarm, and whether they take plain containers. Only managers, and nodes that use one,
    show it; each node gets it when it needs it."""


def look_around(needs: Needs, nodes: Sequence[NodeFacts]) -> Surroundings:
    """Reads all nodes, the lost ones as well."""
    networks = {
        name: network.attachable
        for node in nodes
        for name, network in (node.networks or {}).items()
        if network.scope == "swarm"
    }
    return Surroundings(_image_source(needs.traits, nodes) if needs.traits else None, networks)


def host_findings(node: NodeFacts, needs: Needs, around: Surroundings) -> Iterator[Finding]:
    """All that speaks against the node: problems keep it from it, warnings are doubts."""
    if node.name == needs.leaves:
        # What else is there is itself: its name, its ports, its memory.
        yield problem("OwnNode", "it is to go on without this node, which has it now")
        return
    if node.ready != "True":
        said = node.ready_message or "nobody has said yet that it is ready"
        yield problem("NotReady", f"the node is not ready: {said}", "see whether it runs, and its agent")
    if not node.versions:
        yield problem("NothingReported", "its agent has not reported what the node is", "start the agent there")
        return
    yield from unfit_to_restore(node)
    yield from _seat(node, needs)
    if needs.version is not None:
        yield from _host(node, needs.version, lazy=needs.lazy)
        yield from _data(node, needs.version)
    if needs.traits is not None:
        yield from _image(node, needs.traits, around.image_source)


def has_ready(node: NodeFacts, needs: Needs) -> int | None:
    """The number of the version that the node keeps ready on its disk; None when it has none."""
    return node.standbys.get(str(needs.workload))


def _seat(node: NodeFacts, needs: Needs) -> Iterator[Finding]:
    """The node's place in the Swarm."""
    if node.swarm is None:
        if needs.bound_to or needs.constraints:
            text = "the operator has not said yet what the Swarm knows of the node, which its constraints speak of"
            yield problem("NotInSwarm", text, "see whether the operator runs and reaches the Swarm")
        return
    if node.swarm.availability != "active":
        text = f"the node's availability in the Swarm is {node.swarm.availability}"
        yield problem("NotAvailable", text, f"docker node update --availability active {node.swarm.hostname}")
    if needs.bound_to and node.swarm.id != needs.bound_to:
        yield problem("OtherNode", "the task of a global service never goes to another node")
    if missed := unmet(needs.constraints, node.swarm):
        yield problem("Constraint", f"the node does not fulfil {some(missed)}")


def _host(node: NodeFacts, version: VersionNeeds, *, lazy: bool) -> Iterator[Finding]:
    machine = version.host.get("machine", "")
    if machine and node.machine and machine != node.machine:
        yield problem("OtherMachine", f"version {version.number} is of a {machine}, the node is a {node.machine}")
        return
    if node.cpu_features and (
        missing := missing_features(version.cpu_features, node.cpu_features, machine or node.machine)
    ):
        text = f"the node's processor lacks {some(missing)}, which its process may use"
        yield problem("CpuFeatures", text, "keep such nodes out by a constraint, or run it on those from the start")
    if older_than(node, "criu", criu := version.host.get("criu", "")):
        text = f"the node's CRIU {node.versions['criu']} is older than {criu}, with which version {version.number} was"
        yield problem("CriuOlder", f"{text} taken", "bring CRIU to the same version on all nodes")
    if older_than(node, "kernel", kernel := version.host.get("kernel", "")):
        text = f"the node's kernel {node.versions['kernel']} is older than {kernel}, where version {version.number} was"
        yield warning("KernelOlder", f"{text} taken: it may lack what CRIU has to bring back")
    if lazy and not node.lazy_pages:
        yield note("NoLazyPages", "the node cannot restore memory on demand: all of it is read first")


def _data(node: NodeFacts, version: VersionNeeds) -> Iterator[Finding]:
    """Whether it can read the version, and has room for it."""
    seen = {location.name: location for location in node.locations}
    if version.locations and not any(name in seen and seen[name].reachable for name in version.locations):
        said = [
            f"{name}: {seen[name].message}" if name in seen and seen[name].message else name
            for name in version.locations
        ]
        text = f"the node reaches no StorageLocation that has version {version.number} ({some(said)})"
        yield problem("NoLocation", text, "make one of them reachable there")
    for space in node.spaces:
        if space.name == "staging" and space.free_bytes < version.memory_bytes:
            text = (
                f"version {version.number} has {format_bytes(version.memory_bytes)} of memory, and the staging folder"
                f" {space.path} has {format_bytes(space.free_bytes)} left"
            )
            yield problem("NoRoom", text, "free some there, or enlarge it")


def _image(node: NodeFacts, traits: ContainerTraits, source: str | None) -> Iterator[Finding]:
    if not traits.image_id or traits.image_id in node.images.values():
        return
    if source is not None:
        yield note("ImagePull", f"the node has to pull {source} first")
    elif len(node.images) >= IMAGES_TOLD:
        text = f"the node has more images than it tells, and may not have {traits.image}, which is in no registry"
        yield warning("ImageUnknown", text)
    else:
        yield problem(
            "ImageMissing",
            f"the node does not have the image {traits.image}, and no registry is known to have it",
            "push the image to a registry and run the container from there, or docker load it on the node",
        )


def _image_source(traits: ContainerTraits, nodes: Iterable[NodeFacts]) -> str | None:
    """Docker knows a name with a digest for images that it has pulled or pushed."""
    repository, _, digest = traits.image.partition("@")
    if digest:
        tag = repository.rpartition("/")[2].partition(":")[1:]
        return f"{repository.removesuffix(''.join(tag))}@{digest}"
    names = (name for node in nodes for name, image_id in node.images.items() if image_id == traits.image_id)
    return min((name for name in names if "@" in name), default=None)


def some(names: Iterable[str]) -> str:
    """The first of them, and how many more there are."""
    listed = list(names)
    rest = len(listed) - _NAMED
    return ", ".join(listed[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")

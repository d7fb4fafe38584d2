"""What of a workload would not survive the loss of its node, and what to do. Pure; used by the CLI and the operator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from swarmkeep.model.node import NodeFacts
from swarmkeep.model.policy import Policy, Tcp
from swarmkeep.model.traits import ContainerTraits, Mount
from swarmkeep.plan.findings import Finding, note, problem, warning, worst_first
from swarmkeep.plan.volumes import is_covered

_NAMED = 4


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """Everything that the judgement about one workload needs."""

    node: str
    """Where it runs; empty when nowhere."""
    traits: ContainerTraits | None
    """None when it does not run, or its agent is too old to report them."""
    policy: Policy | None
    unprotected: str
    """What its condition Protected says when it is not True; empty when it is."""
    failure: str
    """Why its last version could not be taken; empty when it could."""


def examine_workload(workload: WorkloadFacts, nodes: Sequence[NodeFacts]) -> tuple[Finding, ...]:
    """All findings about a workload, the worst first, with a look at the nodes where it might go on."""
    found = [*_protection(workload)]
    if workload.traits is None:
        found.append(note("NotRunning", "it does not run now, so nothing is known of its container"))
    else:
        found += examine_container(workload.traits, workload.policy)
        found += _images(workload, workload.traits, nodes)
    if workload.policy is not None:
        found += _places(workload, workload.policy, nodes)
    return worst_first(found)


def examine_container(traits: ContainerTraits, policy: Policy | None) -> tuple[Finding, ...]:
    """What its configuration alone says, the worst first."""
    return worst_first(
        (
            *_devices(traits),
            *_namespaces(traits),
            *_mounts(traits, policy),
            *_image(traits),
            *_streams(traits, policy),
            *_habits(traits, policy),
        )
    )


def _protection(workload: WorkloadFacts) -> Iterator[Finding]:
    if workload.policy is None:
        yield problem("NoPolicy", "its policy is gone or cannot be carried out: no versions are taken")
        return
    if workload.failure:
        yield problem("VersionsFail", f"its last version could not be taken: {workload.failure}")
    elif workload.unprotected:
        yield problem("Unprotected", workload.unprotected)


def _devices(traits: ContainerTraits) -> Iterator[Finding]:
    if traits.devices:
        text = (
            f"it was given devices of its node ({_some(traits.devices)}); one that it has open cannot be in a version"
        )
        yield problem("Devices", text, "take the devices away, or leave the service out of the policy")


def _namespaces(traits: ContainerTraits) -> Iterator[Finding]:
    shared = traits.host_namespaces
    if "PID" in shared:
        text = "it shares its node's process numbers, which may be taken by others elsewhere: a restore would fail"
        yield problem("HostPid", text, "run it without --pid=host")
    if "IPC" in shared:
        text = "it shares its node's System V memory and semaphores, which are not part of a version"
        yield problem("HostIpc", text, "run it without --ipc=host")
    if "Network" in shared:
        text = "it uses its node's network: after a move its addresses are others, and its ports may be taken"
        yield warning("HostNetwork", text, "use an overlay network, or keep the ports free on all nodes")
    if "UTS" in shared:
        yield note("HostUts", "it shares its node's host name, which is another one after a move")
    if traits.privileged:
        text = "it is privileged: what it has opened or mounted of its node cannot be in a version"
        yield note("Privileged", text, "grant it single capabilities instead")


def _mounts(traits: ContainerTraits, policy: Policy | None) -> Iterator[Finding]:
    advice = "see to it that every node has them with the same content, as on a shared file system"
    wishes = policy.volumes if policy is not None else ()
    open_ends = [mount for mount in traits.mounts if not is_covered(mount, wishes)]
    binds = [mount for mount in open_ends if mount.type == "bind"]
    if written := [_mount_text(mount) for mount in binds if not mount.read_only]:
        text = f"it writes to folders of its node, which are not part of a version ({_some(written)})"
        yield warning("BindMount", text, f"name them in checkpoint.volumes of the policy, or {advice}")
    if read := [_mount_text(mount) for mount in binds if mount.read_only]:
        yield note("BindMountReadOnly", f"it reads folders of its node ({_some(read)})", advice)
    named = [mount for mount in open_ends if mount.type == "volume" and mount.source]
    if named:
        text = (
            f"volumes that its policy does not name are not part of a version ({_some(map(_mount_text, named))}): they "
            "stay on the node"
        )
        yield warning(
            "VolumeNotCovered",
            text,
            "name them in checkpoint.volumes of the policy, or use a volume driver that every node reaches",
        )
    nameless = [mount.target for mount in open_ends if mount.type == "volume" and not mount.source]
    if nameless:
        text = f"what it writes to {_some(nameless)} goes to a volume without a name: it is lost with the task"
        yield warning("AnonymousVolume", text, "mount a named volume or a tmpfs there")


def _image(traits: ContainerTraits) -> Iterator[Finding]:
    if traits.image and "@sha256:" not in traits.image:
        text = f"its image {traits.image} is not pinned: another node may run another one, and would then start fresh"
        yield warning("ImageNotPinned", text, "name the image with its digest (@sha256:...), as from a registry")


def _streams(traits: ContainerTraits, policy: Policy | None) -> Iterator[Finding]:
    if traits.tty:
        yield note("Tty", "it has a terminal: whoever is attached loses it, and attaches again after a restore")
    if not traits.connections:
        return
    if policy is not None and policy.tcp is Tcp.REFUSE:
        text = "it has TCP connections, and its policy says tcp: Refuse: no version is taken while there is one"
        yield warning(
            "ConnectionsRefused", text, "set checkpoint.tcp: Close, if its clients connect again by themselves"
        )
    elif policy is not None and policy.tcp is Tcp.ESTABLISHED and traits.fixed_address:
        yield note("ConnectionsStay", "its TCP connections go on after a stop; after a crash or a loss they are closed")
    elif policy is not None and policy.tcp is Tcp.ESTABLISHED:
        text = (
            "its policy says tcp: Established, but it has not asked for an address of its own on each of its networks"
        )
        yield warning(
            "AddressChanges", f"{text}: its connections are closed", "run it with --ip on a network of its own"
        )
    else:
        yield note("ConnectionsClose", "its TCP connections are closed by a restore: its clients have to connect again")


def _habits(traits: ContainerTraits, policy: Policy | None) -> Iterator[Finding]:
    """What the Swarm does around the container that a restore does not bear, or a version."""
    if traits.own_environment:
        named = _some(traits.own_environment)
        text = f"its environment names its task or its node ({named}): the next task has other values, and starts fresh"
        yield warning("OwnEnvironment", text, "take the templates out of the service's environment")
    if policy is not None and 0 < traits.health_patience_s <= policy.max_freeze.total_seconds():
        text = (
            f"its health check calls it unhealthy when it stands still for {traits.health_patience_s:g} s, and a "
            f"version may take {policy.max_freeze.total_seconds():g} s: a service's task is then replaced"
        )
        yield warning("HealthCheckTight", text, "allow the check more time or retries, or lower checkpoint.maxFreeze")


def _images(workload: WorkloadFacts, traits: ContainerTraits, nodes: Sequence[NodeFacts]) -> Iterator[Finding]:
    """Whether the other nodes have its image, and the same."""
    tag, _, digest = traits.image.partition("@")
    repository = tag.rpartition(":")[0] if ":" in tag.rpartition("/")[2] else tag
    names = {f"{repository}@{digest}"} if digest else {tag, f"{tag}:latest"}
    unlike, without = [], []
    for node in nodes:
        if node.name == workload.node or not node.images or not traits.image:
            continue
        known = {node.images[name] for name in names if name in node.images}
        if traits.image_id in node.images.values():
            if known and not digest and traits.image_id not in known:
                unlike.append(node.name)
        elif not known:
            without.append(node.name)
        elif not digest:
            unlike.append(node.name)
    if unlike:
        text = f"{_some(unlike)} has another image under the name {tag}: a task there would start fresh"
        yield problem("ImageDiffers", text, "pull the same image on all nodes, or pin it by digest")
    if without:
        yield note("ImageNotThere", f"{_some(without)} has to pull its image before a task can be restored there")


def _places(workload: WorkloadFacts, policy: Policy, nodes: Sequence[NodeFacts]) -> Iterator[Finding]:
    """Whether there is any other node where it could go on."""
    others = [node for node in nodes if node.name != workload.node and node.ready == "True"]
    wanted = set(policy.locations)
    reach = [n for n in others if any(seen.name in wanted and seen.reachable for seen in n.locations)]
    if not others:
        yield problem("NoOtherNode", "there is no other node that is ready: it has nowhere to go", "add a node")
    elif not reach:
        text = f"no other node reaches StorageLocation {' or '.join(policy.locations)}: none could restore it"
        yield problem("NoOtherNode", text, "make the location reachable on more nodes")
    eager = sorted(node.name for node in reach if not node.lazy_pages)
    if policy.restore.lazy and eager:
        text = (
            f"its policy restores memory on demand, which {_some(eager)} cannot: a restore there reads all of it first"
        )
        yield note("LazyPagesMissing", text)


def _mount_text(mount: Mount) -> str:
    return f"{mount.source} at {mount.target}"


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    rest = len(listed) - _NAMED
    return ", ".join(listed[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")

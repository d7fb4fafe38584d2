"""What is wrong with nodes: can versions be taken on them, and can versions of others be restored there? Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from swarmkeep.model.node import NodeFacts, Space
from swarmkeep.model.quantity import format_bytes
from swarmkeep.plan.cpu_features import missing_features
from swarmkeep.plan.findings import Finding, Severity, note, problem, warning, worst_first

SHIM = "swarmkeep-runtime"
OLDEST_CRIU = (4, 2)
OLDEST_RUNC = (1, 1)
TRIED_DOCKER = 28
CLOCK_S = 2.0
"""A difference of clocks that a person should know of, in seconds."""
LOW, EMPTY = 0.10, 0.02
"""Shares of a file system that are left: little, and nothing to speak of."""
_NAMED = 6


@dataclass(frozen=True, slots=True)
class SeenLease:
    """A node's Lease as it stands in the API."""

    renewed_at: datetime
    """By the node's clock."""
    duration: timedelta


def examine_node(
    node: NodeFacts, others: Sequence[NodeFacts], lease: SeenLease | None, now: datetime
) -> tuple[Finding, ...]:
    """All findings about a node, the worst first. `others` are compared with; `now` is by the API server's clock."""
    return worst_first(
        (
            *_alive(node, lease, now),
            *_programs(node),
            *_runtime(node),
            *_kernel(node),
            *_clock(node),
            *_room(node),
            *_locations(node),
            *_differences(node, others),
        )
    )


def unfit_to_restore(node: NodeFacts) -> tuple[Finding, ...]:
    """What keeps a node from restoring any version at all."""
    found = (*_programs(node), *_runtime(node), *_kernel(node))
    return tuple(finding for finding in found if finding.severity is Severity.PROBLEM)


def older_than(node: NodeFacts, program: str, version: str) -> bool:
    """Whether the node's `program` (a key of its versions) is older, by major and minor. Unknown is not older."""
    mine, other = _numbers(node.versions.get(program, "")), _numbers(version)
    return mine is not None and other is not None and mine < other


def obstacles_for(target: NodeFacts, source: NodeFacts) -> tuple[Finding, ...]:
    """What keeps a process of `source` from going on on `target`: its programs, its runtime, its kernel, its processor.

    Differences that only matter to some processes count as well: nobody can look into one and tell.
    """
    differences = [item for item in _differences(target, [source]) if item.severity is not Severity.NOTE]
    return (*unfit_to_restore(target), *differences)


def _alive(node: NodeFacts, lease: SeenLease | None, now: datetime) -> Iterator[Finding]:
    if lease is None:
        yield problem("NoLease", "its agent has never renewed a lease", "start the agent, and look at its log")
        return
    age = now - (lease.renewed_at - timedelta(seconds=node.clock_offset_s or 0))
    # The server tells whole seconds.
    if age > lease.duration + timedelta(seconds=1):
        text = f"its agent has not renewed its lease for {age.total_seconds():.0f} s"
        yield problem("AgentSilent", text, "see whether node and agent run and reach the API server")
    elif node.ready in ("False", "Unknown"):
        yield problem("NotReady", node.ready_message or "it is not ready, and no reason is given")


def _programs(node: NodeFacts) -> Iterator[Finding]:
    if not node.versions:
        yield problem("NothingReported", "its agent has not reported what the node is", "start the agent there")
        return
    criu, runc, docker = (node.versions.get(name, "") for name in ("criu", "runc", "docker"))
    if not criu:
        yield problem("CriuMissing", "CRIU is not installed: no version can be taken", "install CRIU 4.2 or newer")
    elif (found := _numbers(criu)) and found < OLDEST_CRIU:
        yield warning("CriuOld", f"CRIU {criu} does not know newer kernels", "install CRIU 4.2 or newer")
    if criu and node.criu_passed is False:
        yield problem("CriuCheckFailed", f"criu check: {node.criu_message}", "install a kernel and CRIU that fit")
    if not runc:
        yield problem("RuncMissing", "runc does not answer", "install it, or name it in agent.runc of config.yaml")
    elif (found := _numbers(runc)) and found < OLDEST_RUNC:
        yield warning("RuncOld", f"runc {runc} was not tried", "install runc 1.1 or newer")
    if not docker:
        yield problem("DockerSilent", "Docker did not answer when the agent started", "start Docker, then the agent")
    elif (found := _numbers(docker)) and found[0] != TRIED_DOCKER:
        yield note("DockerUntried", f"Docker {docker} was not tried, {TRIED_DOCKER} was")


def _runtime(node: NodeFacts) -> Iterator[Finding]:
    if node.runtime is not None and node.runtime.rpartition("/")[2] != SHIM:
        text = f"Docker starts containers with {node.runtime or 'a runtime that it does not name'}"
        yield problem(
            "ShimNotDefault",
            f"{text}: nothing is restored here, and nothing saved at a stop",
            f"make {SHIM} the default-runtime in /etc/docker/daemon.json and reload Docker",
        )
    if node.storage_driver and node.storage_driver != "overlay2":
        yield problem(
            "StorageDriver",
            f"Docker's storage driver is {node.storage_driver}: the writable layer cannot be part of a version",
            "use overlay2",
        )


def _kernel(node: NodeFacts) -> Iterator[Finding]:
    if not node.versions:
        return
    if node.cgroup_version == 0:
        yield problem("NoCgroups", "cgroups cannot be read: no container can be frozen", "mount /sys/fs/cgroup")
    if not node.lazy_pages:
        yield warning(
            "NoLazyPages",
            "the kernel cannot restore memory on demand (userfaultfd): a restore reads all of it first",
            "use a kernel with CONFIG_USERFAULTFD",
        )
    if not node.memory_tracking:
        yield note("NoMemoryTracking", "the kernel does not track written pages; each dump writes all memory")


def _clock(node: NodeFacts) -> Iterator[Finding]:
    offset_s = node.clock_offset_s
    if offset_s is not None and abs(offset_s) > CLOCK_S:
        side = "ahead of" if offset_s > 0 else "behind"
        text = f"its clock is {abs(offset_s):g} s {side} the API server's: the times of its versions are wrong by that"
        yield warning("ClockOff", text, "run NTP on all nodes")


def _room(node: NodeFacts) -> Iterator[Finding]:
    for space in node.spaces:
        yield from _little(space, f"the {space.name} folder {space.path}", "SpaceLow")
    for location in node.locations:
        if location.space is not None:
            yield from _little(location.space, f"StorageLocation {location.name} ({location.space.path})", "StorageLow")


def _little(space: Space, what: str, code: str) -> Iterator[Finding]:
    if not space.total_bytes:
        return
    share = space.free_bytes / space.total_bytes
    text = f"{what} has {format_bytes(space.free_bytes)} of {format_bytes(space.total_bytes)} left"
    if share <= EMPTY:
        yield problem(code, f"{text}: versions will fail", "free some, or enlarge it")
    elif share <= LOW:
        yield warning(code, text, "free some, or enlarge it; keep fewer versions by the policies' retention")


def _locations(node: NodeFacts) -> Iterator[Finding]:
    for location in node.locations:
        if not location.reachable:
            said = location.message or "no reason given"
            text = f"StorageLocation {location.name} is out of reach: {said}"
            yield problem("LocationUnreachable", text, "mend that; versions there can neither be written nor read here")
        elif location.message:
            yield note("LocationNote", f"StorageLocation {location.name}: {location.message}")


def _differences(node: NodeFacts, others: Sequence[NodeFacts]) -> Iterator[Finding]:
    """What makes versions of others unfit for this node."""
    if not node.versions:
        return
    if node.cpu_features:
        missing: dict[str, list[str]] = {}
        for other in others:
            for feature in missing_features(other.cpu_features, node.cpu_features, node.machine):
                missing.setdefault(feature, []).append(other.name)
        if missing:
            owners = sorted({name for names in missing.values() for name in names})
            text = f"its processor lacks {_some(missing)}, unlike {_some(owners)}"
            advice = (
                "a process of theirs may not go on here: restrict the service to nodes alike by a placement constraint"
            )
            yield warning("CpuDiffers", text, advice)
    for program in ("kernel", "criu"):
        newer = [other for other in others if older_than(node, program, other.versions.get(program, ""))]
        if newer:
            name = "CRIU" if program == "criu" else program
            seen = _some(sorted(f"{other.name} ({other.versions[program]})" for other in newer))
            text = f"its {name} {node.versions[program]} is older than that of {seen}"
            yield warning(
                "OlderThanOthers", text, "versions of newer nodes may not be restorable here: bring all to one"
            )
    agent = node.versions.get("swarmkeep", "")
    if unlike := sorted(
        {other.versions["swarmkeep"] for other in others if other.versions.get("swarmkeep", agent) != agent}
    ):
        yield note("AgentsDiffer", f"its agent is version {agent}, others are {_some(unlike)}")


def _numbers(version: str) -> tuple[int, int] | None:
    """Major and minor; None when there are none."""
    match = re.match(r"(\d+)\.(\d+)", version, re.ASCII)
    return (int(match[1]), int(match[2])) if match else None


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    rest = len(listed) - _NAMED
    return ", ".join(listed[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")

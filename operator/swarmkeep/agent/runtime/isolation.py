"""A container that is like another one and touches nothing that the other one touches. Pure on Docker's inspection.

It has no network but its own loopback, a cgroup, processes and files of its own, and in place of what is mounted into
the other one it has copies or nothing. So a version can be restored in it while the real one runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from swarmkeep.errors import SwarmKeepError

LABEL = "swarmkeep.dev/trial"
"""On every container that is made here."""
CPU_SHARES = 128
"""A eighth of what a container gets by default where the processors are all in use."""
SPARE_BYTES = 256 << 20
"""What a trial may use beyond twice the memory image, where the real container has no limit."""

_ANONYMOUS_VOLUME = re.compile(r"[0-9a-f]{64}")
_CONFIG = (
    "Hostname",
    "Domainname",
    "User",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "Env",
    "Cmd",
    "Entrypoint",
    "WorkingDir",
    "StopSignal",
    "Shell",
)
_HOST = (
    "CapAdd",
    "CapDrop",
    "GroupAdd",
    "SecurityOpt",
    "ReadonlyRootfs",
    "ShmSize",
    "Tmpfs",
    "Ulimits",
    "Sysctls",
    "Init",
    "UsernsMode",
    "CgroupnsMode",
    "MaskedPaths",
    "ReadonlyPaths",
    "PidsLimit",
    "Isolation",
)
_SHARED = {"NetworkMode": "network", "PidMode": "processes", "IpcMode": "shared memory", "UTSMode": "host name"}


class CannotIsolate(SwarmKeepError):
    """A container's version cannot be tried without touching what belongs to others."""

    reason = "CannotIsolate"


@dataclass(frozen=True, slots=True)
class StandIn:
    """A place where something from outside is mounted into the real container."""

    target: str
    source: str
    """On the real container's node; for a named volume the folder behind it."""
    name: str
    """What to call it."""
    read_only: bool


def stand_ins(inspection: Mapping[str, Any]) -> list[StandIn]:
    """The mounts of a container that need something in their place. A volume without a name is new for every task."""
    return [
        StandIn(
            target=str(mount["Destination"]),
            source=str(mount.get("Source") or ""),
            name=f"volume {mount['Name']}" if mount.get("Type") == "volume" else str(mount.get("Source") or "?"),
            read_only=not mount.get("RW", True),
        )
        for mount in inspection.get("Mounts") or ()
        if mount.get("Type") in ("bind", "volume") and not _is_anonymous(mount)
    ]


def isolated(
    inspection: Mapping[str, Any], image_id: str, image_bytes: int, in_place: Mapping[str, str]
) -> dict[str, Any]:
    """What to have Docker create for a trial of a container with that inspection.

    `image_bytes` is the size of the memory image, `in_place` has a path of this node for the target of each stand-in.
    Raises CannotIsolate.
    """
    config: Mapping[str, Any] = inspection.get("Config") or {}
    host: Mapping[str, Any] = inspection.get("HostConfig") or {}
    hindrances = list(_hindrances(host))
    if hindrances:
        raise CannotIsolate(f"it cannot be tried in isolation: {'; '.join(hindrances)}")
    memory = int(host.get("Memory") or 0) or 2 * image_bytes + SPARE_BYTES
    made_host: dict[str, Any] = {name: host[name] for name in _HOST if host.get(name) is not None}
    made_host |= {
        "NetworkMode": "none",
        "IpcMode": "private",
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "none"},
        "AutoRemove": False,
        "Memory": memory,
        "MemorySwap": memory,
        "CpuShares": CPU_SHARES,
        "Mounts": [*_mounts(inspection, host, in_place)],
    }
    return {
        **{name: config[name] for name in _CONFIG if config.get(name) is not None},
        "Image": image_id,
        "Labels": {LABEL: "yes"},
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": made_host,
    }


def limit_is_own(inspection: Mapping[str, Any]) -> bool:
    """Whether the trial's memory limit was made up for it."""
    return not (inspection.get("HostConfig") or {}).get("Memory")


def _hindrances(host: Mapping[str, Any]) -> Iterator[str]:
    if host.get("Privileged"):
        yield "it is privileged"
    devices: Sequence[Any] = [*(host.get("Devices") or ()), *(host.get("DeviceRequests") or ())]
    if devices:
        yield "it has devices of its node"
    for field, what in _SHARED.items():
        mode = str(host.get(field) or "")
        if mode == "host":
            yield f"it shares its node's {what}"
        elif mode.startswith("container:"):
            yield f"it shares another container's {what}"


def _mounts(
    inspection: Mapping[str, Any], host: Mapping[str, Any], in_place: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    for mount in host.get("Mounts") or ():
        if mount.get("Type") == "tmpfs":
            yield dict(mount)
    for mount in inspection.get("Mounts") or ():
        target = str(mount["Destination"])
        if target in in_place:
            yield {
                "Type": "bind",
                "Source": in_place[target],
                "Target": target,
                "ReadOnly": not mount.get("RW", True),
            }
        elif mount.get("Type") == "volume" and _is_anonymous(mount):
            yield {"Type": "volume", "Target": target}


def _is_anonymous(mount: Mapping[str, Any]) -> bool:
    return mount.get("Type") == "volume" and bool(_ANONYMOUS_VOLUME.fullmatch(str(mount.get("Name") or "")))

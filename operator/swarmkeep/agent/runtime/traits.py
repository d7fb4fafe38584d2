"""What of a running container decides whether its state survives elsewhere: reported for the doctor."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from swarmkeep.agent.runtime.addresses import kept_addresses
from swarmkeep.agent.runtime.facts import ContainerFacts
from swarmkeep.agent.runtime.takings import EVERYWHERE, cpu_limit, published_ports, set_aside_bytes
from swarmkeep.model.traits import ContainerTraits, Mount

PROC = Path("/proc")
CONNECTIONS_EVERY_S = 30.0
"""How often a container without connections is looked at for some."""

_ANONYMOUS_VOLUME = re.compile(r"[0-9a-f]{64}")
_ESTABLISHED = "01"
_HOST_MODES = {"NetworkMode": "Network", "PidMode": "PID", "IpcMode": "IPC", "UTSMode": "UTS"}


class TraitsReader:
    """Reads containers' traits. A connection once seen counts for the container's life, so that reports stay quiet."""

    def __init__(self, proc: Path = PROC, clock: Callable[[], float] = time.monotonic) -> None:
        self._proc = proc
        self._clock = clock
        self._hostname = socket.gethostname()
        self._connected: set[str] = set()
        self._looked_at: dict[str, float] = {}
        self._looks: dict[str, asyncio.Task[None]] = {}

    def read(self, facts: ContainerFacts) -> ContainerTraits:
        """What is known of the container now.

        Connections are looked for in the background and told the next time: nobody waits for a long list of them.
        """
        now = self._clock()
        due = now - self._looked_at.get(facts.id, -CONNECTIONS_EVERY_S) >= CONNECTIONS_EVERY_S
        if facts.id not in self._connected and facts.id not in self._looks and due:
            self._looked_at[facts.id] = now
            self._looks[facts.id] = asyncio.create_task(self._look(facts.id, facts.pid))
        return read_traits(facts, connections=facts.id in self._connected, hostname=self._hostname)

    async def _look(self, container_id: str, pid: int) -> None:
        try:
            if await asyncio.to_thread(has_connections, pid, self._proc) and container_id in self._looked_at:
                self._connected.add(container_id)
        finally:
            self._looks.pop(container_id, None)

    def forget(self, container_id: str) -> None:
        """The container is gone."""
        self._connected.discard(container_id)
        self._looked_at.pop(container_id, None)


def read_traits(facts: ContainerFacts, *, connections: bool, hostname: str = "") -> ContainerTraits:
    """The traits in Docker's inspection. `hostname` is the node's."""
    host: Mapping[str, Any] = facts.raw.get("HostConfig") or {}
    devices = [str(device.get("PathOnHost") or "?") for device in host.get("Devices") or ()]
    for request in host.get("DeviceRequests") or ():
        kinds = {kind for kinds in request.get("Capabilities") or () for kind in kinds}
        devices.append(str(request.get("Driver") or "/".join(sorted(kinds)) or "gpu"))
    return ContainerTraits(
        image=facts.image_ref,
        image_id=facts.image_id,
        tty=facts.tty,
        privileged=bool(host.get("Privileged")),
        host_namespaces=tuple(name for field, name in _HOST_MODES.items() if host.get(field) == "host"),
        devices=tuple(sorted(set(devices))),
        mounts=tuple(sorted(map(read_mount, facts.raw.get("Mounts") or ()), key=lambda mount: mount.target)),
        connections=connections,
        name=facts.name,
        networks=tuple(name for name in facts.networks if name not in EVERYWHERE),
        ports=published_ports(host),
        memory_bytes=set_aside_bytes(host),
        cpus=cpu_limit(host),
        health_patience_s=_health_patience_s(facts.raw),
        own_environment=_own_environment(facts, hostname),
        fixed_address=bool(kept_addresses(facts.raw)),
    )


def has_connections(pid: int, proc: Path = PROC) -> bool:
    """Whether the process' network has established TCP connections. Source: proc_pid_net(5)."""
    for table in ("tcp", "tcp6"):
        try:
            with (proc / str(pid) / "net" / table).open() as lines:
                next(lines, None)
                if any(line.split()[3:4] == [_ESTABLISHED] for line in lines):
                    return True
        except OSError:
            continue
    return False


def _health_patience_s(raw: Mapping[str, Any]) -> float:
    """A check that hangs fails after its timeout; the next one begins an interval later. Zero is the default."""
    check: Mapping[str, Any] = (raw.get("Config") or {}).get("Healthcheck") or {}
    if not check.get("Test") or check["Test"][0] == "NONE":
        return 0.0
    interval_s, timeout_s = ((check.get(name) or 30e9) / 1e9 for name in ("Interval", "Timeout"))
    retries = check.get("Retries") or 3
    return float(retries * timeout_s + (retries - 1) * interval_s)


def _own_environment(facts: ContainerFacts, hostname: str) -> tuple[str, ...]:
    """What a template like {{.Task.ID}} or {{.Node.Hostname}} was put into. Of plain containers none."""
    names = [f"com.docker.swarm.{name}" for name in ("task.id", "task.name", "node.id")]
    ids = [facts.labels[name] for name in names if facts.labels.get(name)]
    found = []
    for variable in facts.env if ids else ():
        name, _, value = variable.partition("=")
        if any(text in value for text in ids) or (hostname and value == hostname):
            found.append(name)
    return tuple(sorted(found))


def read_mount(raw: Mapping[str, Any]) -> Mount:
    """One mount in Docker's inspection."""
    kind = str(raw.get("Type", ""))
    source = str(raw.get("Name" if kind == "volume" else "Source") or "")
    if _ANONYMOUS_VOLUME.fullmatch(source) or kind == "tmpfs":
        source = ""
    return Mount(kind, source, str(raw.get("Destination", "")), not raw.get("RW", True))

"""What containers and programs take of a node: memory, processors, ports, names. Reported for placement."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from swarmkeep.agent.runtime.facts import ContainerFacts
from swarmkeep.plan.protection import is_plain

PROC = Path("/proc")
MEMORY_STEPS = 16
"""Free memory is told in so many parts of all."""
VOLUMES_TOLD = NETWORKS_TOLD = NAMES_TOLD = 200
PORTS_TOLD = 300
"""So that a node's report stays small."""
EVERYWHERE = frozenset({"bridge", "host", "none", "ingress", "docker_gwbridge"})
"""Networks that every Docker has."""

_ANONYMOUS_VOLUME = re.compile(r"[0-9a-f]{64}")
_DEFAULT_PERIOD_US = 100_000
_LISTENING = "0A"
_UNCONNECTED = "07"


def taken_status(running: Iterable[ContainerFacts], names: Iterable[str], ports: Iterable[str]) -> dict[str, Any]:
    """`status.taken`: what the running containers take; `names` of plain containers, `ports` that programs have.

    A task's limits are no promise: Swarm counts only reservations.
    """
    found = list(running)
    hosts = [(facts.raw.get("HostConfig") or {}, is_plain(facts.labels)) for facts in found]
    taken = {port for host, _ in hosts for port in published_ports(host)} | set(ports)
    return {
        "running": len(found),
        "memoryBytes": sum(
            set_aside_bytes(host) if plain else int(host.get("MemoryReservation") or 0) for host, plain in hosts
        ),
        "cpus": round(sum(cpu_limit(host) for host, plain in hosts if plain), 3),
        "names": sorted(names)[:NAMES_TOLD],
        "ports": sorted(taken, key=_port_order)[:PORTS_TOLD],
    }


def volume_list(names: Iterable[str]) -> list[str]:
    """`status.volumes`: those that somebody has named."""
    return sorted(name for name in set(names) if not _ANONYMOUS_VOLUME.fullmatch(name))[:VOLUMES_TOLD]


def network_list(raw: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`status.networks` out of what GET /networks answers."""
    found = {
        str(item["Name"]): {
            "name": str(item["Name"]),
            "driver": str(item.get("Driver") or ""),
            "scope": str(item.get("Scope") or "local"),
            # One that is not Swarm's takes any container.
            "attachable": bool(item.get("Attachable")) or item.get("Scope") != "swarm",
        }
        for item in raw
        if item.get("Name") and item["Name"] not in EVERYWHERE
    }
    return [found[name] for name in sorted(found)[:NETWORKS_TOLD]]


def set_aside_bytes(host: Mapping[str, Any]) -> int:
    """The memory of a HostConfig: its reservation, else its limit, else 0."""
    return int(host.get("MemoryReservation") or host.get("Memory") or 0)


def cpu_limit(host: Mapping[str, Any]) -> float:
    """The processors that a HostConfig allows at most; 0 for all."""
    if nano := host.get("NanoCpus"):
        return float(nano) / 1e9
    quota = host.get("CpuQuota") or 0
    return float(quota) / (host.get("CpuPeriod") or _DEFAULT_PERIOD_US) if quota > 0 else 0.0


def published_ports(host: Mapping[str, Any]) -> tuple[str, ...]:
    """Ports of the node that a HostConfig publishes, as `8080/tcp`; not those that Docker chooses."""
    found = set()
    for inner, bindings in (host.get("PortBindings") or {}).items():
        protocol = str(inner).partition("/")[2] or "tcp"
        found |= {f"{binding['HostPort']}/{protocol}" for binding in bindings or () if binding.get("HostPort")}
    return tuple(sorted(found, key=_port_order))


def listening_ports(proc: Path = PROC) -> set[str]:
    """Ports that programs of this node listen at, without those that the kernel lends to clients.

    Sources: proc_pid_net(5), ip_local_port_range in ip(7).
    """
    lent_from = _lent_from(proc)
    found: set[str] = set()
    for table, protocol, state in (
        ("tcp", "tcp", _LISTENING),
        ("tcp6", "tcp", _LISTENING),
        ("udp", "udp", _UNCONNECTED),
        ("udp6", "udp", _UNCONNECTED),
    ):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            port = int(words[1].rpartition(":")[2], 16)
            if words[3] == state and 0 < port < lent_from:
                found.add(f"{port}/{protocol}")
    return found


def free_memory(before: int | None, total_bytes: int, proc: Path = PROC) -> int | None:
    """MemAvailable in sixteenths of all. `before` stays until it is more than a step away: no report for a breath.

    None when the kernel does not say.
    """
    try:
        lines = (proc / "meminfo").read_text().splitlines()
    except OSError:
        return before
    kib = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    if kib is None:
        return before
    free, step = kib << 10, max(1, total_bytes // MEMORY_STEPS)
    if before is not None and -step < free - before < 2 * step:
        return before
    return free // step * step


def _lent_from(proc: Path) -> int:
    try:
        return int((proc / "sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32768


def _port_order(port: str) -> tuple[int, str]:
    number, _, protocol = port.partition("/")
    return (int(number) if number.isdecimal() else 0, protocol)

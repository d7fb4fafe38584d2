"""What doctor and placement want to know of a node beside its features: what Docker has, processor, memory, room.

All of it may be mended while the agent runs, so it is looked at again and again.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import structlog

from swarmkeep.agent.runtime.containers import Containers
from swarmkeep.agent.runtime.disk_space import read_space
from swarmkeep.agent.runtime.features import run_program
from swarmkeep.agent.runtime.takings import (
    free_memory,
    listening_ports,
    network_list,
    taken_status,
    volume_list,
)
from swarmkeep.errors import SwarmKeepError, Unavailable
from swarmkeep.kube.client import Client
from swarmkeep.model.node import IMAGES_TOLD
from swarmkeep.plan.protection import is_plain

log = structlog.get_logger(__name__)

REFRESH_S = 60.0
SPACE_LIMIT_S = 5.0
"""The longest that a file system may take to say how much room it has."""
TOLERANCE_S = 1.0
"""A difference of clocks that the whole seconds of an HTTP date cannot tell from none."""
CPUINFO = Path("/proc/cpuinfo")


class HostReport:
    """A part of one node's status, at most a minute old."""

    def __init__(self, client: Client, containers: Containers, folders: Mapping[str, Path]) -> None:
        """`folders` are those whose room matters, by what they are for."""
        self._client = client
        self._containers = containers
        self._folders = dict(folders)
        self._status: dict[str, Any] = {}
        self._looks: dict[str, asyncio.Task[dict[str, Any]]] = {}
        self._read_at: float | None = None
        self._free_memory: int | None = None

    async def status(self) -> dict[str, Any]:
        """Fields of the Node's status. Never raises; what does not answer keeps what it said before."""
        now = time.monotonic()
        if self._read_at is None or now - self._read_at >= REFRESH_S:
            self._read_at = now
            parts = await asyncio.gather(
                self._docker(),
                _criu_check(),
                asyncio.to_thread(_cpu_features),
                self._clock(),
                self._disks(),
                self._capacity(),
            )
            for part in parts:
                self._status |= part
        return dict(self._status)

    async def _docker(self) -> dict[str, Any]:
        try:
            info, images = await self._containers.info(), await self._containers.images()
            volumes, networks = await self._containers.volumes(), await self._containers.networks()
            running, listed = await self._containers.list_running(), await self._containers.list_all()
        except Unavailable as error:
            log.warning("Docker does not tell what it is", error=str(error))
            return {}
        names = [item.name for item in listed if is_plain(item.labels)]
        ports = await asyncio.to_thread(listening_ports)
        return docker_status(info) | {
            "images": image_list(images),
            "volumes": volume_list(volumes),
            "networks": network_list(networks),
            "taken": taken_status(running, names, ports),
        }

    async def _capacity(self) -> dict[str, Any]:
        total_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self._free_memory = await asyncio.to_thread(free_memory, self._free_memory, total_bytes)
        found = {"cpus": os.cpu_count() or 1, "memoryBytes": total_bytes, "freeMemoryBytes": self._free_memory}
        return {"capacity": {name: value for name, value in found.items() if value is not None}}

    async def _clock(self) -> dict[str, Any]:
        before = datetime.now(UTC)
        try:
            answer = await self._client.transport.request("GET", "/version", repeatable=True)
            offset_s = clock_offset_s(before, datetime.now(UTC), parsedate_to_datetime(answer.headers["Date"]))
        except (SwarmKeepError, KeyError, ValueError):
            return {}
        return {"clockOffsetSeconds": offset_s}

    async def _disks(self) -> dict[str, Any]:
        for name, folder in self._folders.items():
            if name not in self._looks or self._looks[name].done():
                # One that hangs keeps one thread, not one more with each report.
                self._looks[name] = asyncio.create_task(asyncio.to_thread(read_space, folder))
        if not self._looks:
            return {}
        done, _ = await asyncio.wait(self._looks.values(), timeout=SPACE_LIMIT_S)
        found = {name: look.result() for name, look in self._looks.items() if look in done}
        return {"disks": [{"name": name, **space} for name, space in found.items() if space]}


def docker_status(info: Mapping[str, Any]) -> dict[str, Any]:
    """What GET /info says of runtimes and storage."""
    name = str(info.get("DefaultRuntime") or "")
    runtime = (info.get("Runtimes") or {}).get(name) or {}
    path = str(runtime.get("path") or runtime.get("runtimeType") or name)
    return {"runtime": {"name": name, "path": path}, "storageDriver": str(info.get("Driver") or "")}


def image_list(images: Mapping[str, str]) -> list[dict[str, str]]:
    """`status.images`, sorted, so that equal sets are equal."""
    return [{"name": name, "id": image_id} for name, image_id in sorted(images.items())[:IMAGES_TOLD]]


def clock_offset_s(before: datetime, after: datetime, server: datetime) -> float:
    """How far this clock is ahead of the server's, which said `server` between `before` and `after`; whole seconds.

    A server's date is cut to the second: on average it is half of one behind.
    """
    middle = before + (after - before) / 2
    offset = (middle - server).total_seconds() - 0.5
    doubt = TOLERANCE_S + (after - before).total_seconds() / 2
    return 0.0 if abs(offset) <= doubt else float(round(offset))


async def _criu_check() -> dict[str, Any]:
    code, text = await run_program("criu", "check", errors_too=True)
    errors = [line.strip() for line in text.splitlines() if "Error" in line] or text.strip().splitlines()[-1:]
    message = "" if code == 0 else " | ".join(errors[:3])[:500] or f"criu check ended with {code}"
    return {"criuCheck": {"passed": code == 0, "message": message}}


def _cpu_features() -> dict[str, Any]:
    try:
        return {"cpuFeatures": cpu_features(CPUINFO.read_text(errors="replace"))}
    except OSError:
        return {}


def cpu_features(cpuinfo: str) -> list[str]:
    """The features of the first processor, sorted. Source: /proc/cpuinfo, `flags` on x86 and `Features` on ARM."""
    for line in cpuinfo.splitlines():
        key, _, words = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return sorted(set(words.split()))
    return []

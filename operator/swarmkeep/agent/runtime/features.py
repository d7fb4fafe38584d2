"""What this node can do, found out once at start. Reported on the Node object and written into every version."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from swarmkeep.agent.runtime.cgroups import cgroup_version
from swarmkeep.agent.runtime.containers import Containers
from swarmkeep.errors import Unavailable

log = structlog.get_logger(__name__)

PROGRAM_LIMIT_S = 10.0
"""The longest that a program may take to say its version."""


@dataclass(frozen=True, slots=True)
class NodeFeatures:
    """Versions are empty when a program is not there or does not answer."""

    kernel: str
    machine: str
    docker_version: str
    runc_version: str
    criu_version: str
    lazy_pages: bool
    """Memory can be restored page by page, while the process runs already."""
    memory_tracking: bool
    """The kernel can say which pages changed since the version before."""
    cgroup_version: int
    swarm_node_id: str
    swarm_address: str

    @property
    def host(self) -> Mapping[str, str]:
        """What a version was taken on, as status.host of a Checkpoint has it."""
        return {
            "kernel": self.kernel,
            "criu": self.criu_version,
            "runc": self.runc_version,
            "machine": self.machine,
        }


async def read_features(runc: Path, containers: Containers) -> NodeFeatures:
    """Asks kernel, programs and Docker. Never raises: what does not answer is not there."""
    system = os.uname()
    criu, runc_text, lazy, tracking, info = await asyncio.gather(
        _output("criu", "--version"),
        _output(str(runc), "--version"),
        _succeeds("criu", "check", "--feature", "uffd-noncoop"),
        _succeeds("criu", "check", "--feature", "mem_dirty_track"),
        _docker_info(containers),
    )
    swarm = info.get("Swarm") or {}
    return NodeFeatures(
        kernel=system.release,
        machine=system.machine,
        docker_version=str(info.get("ServerVersion", "")),
        runc_version=_version(runc_text),
        criu_version=_version(criu),
        lazy_pages=lazy,
        memory_tracking=tracking,
        cgroup_version=_cgroup_version(),
        swarm_node_id=str(swarm.get("NodeID", "")),
        swarm_address=str(swarm.get("NodeAddr", "")),
    )


async def _docker_info(containers: Containers) -> Mapping[str, Any]:
    try:
        return await containers.info()
    except Unavailable as error:
        log.warning("Docker does not tell what it is", error=str(error))
        return {}


async def _output(*words: str) -> str:
    code, text = await run_program(*words)
    return text if code == 0 else ""


async def _succeeds(*words: str) -> bool:
    code, _ = await run_program(*words)
    return code == 0


async def run_program(*words: str, errors_too: bool = False) -> tuple[int, str]:
    """Exit code and output; 127 when the program is not there, 124 when it takes too long."""
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"}
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT if errors_too else asyncio.subprocess.DEVNULL,
            env=environment,
        )
    except OSError as error:
        log.warning("a program that SwarmKeep needs is missing", program=words[0], error=str(error))
        return 127, ""
    try:
        async with asyncio.timeout(PROGRAM_LIMIT_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return 124, ""
    return process.returncode or 0, output.decode(errors="replace")


def _version(text: str) -> str:
    """The first thing in a program's output that looks like a version."""
    match = re.search(r"\d+\.\d+(\.\d+)?[\w.+~-]*", text)
    return match.group(0) if match else ""


def _cgroup_version() -> int:
    try:
        return cgroup_version()
    except OSError:
        return 0

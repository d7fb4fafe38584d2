"""Processes of a container, looked at and ended without Docker. Used when Docker may be away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from swarmkeep.agent.runtime.cgroups import PROC, NoCgroup, find_freezer

END_LIMIT_S = 5.0
"""How long killed processes may take to go away."""
POLL_S = 0.01


def is_alive(pid: int, container_id: str) -> bool:
    """Whether that process runs, and still belongs to that container."""
    try:
        find_freezer(pid, container_id)
    except NoCgroup:
        return False
    return True


def member(container_id: str, proc: Path = PROC) -> int:
    """A process in the container's cgroup, though Docker may not know of any; 0 for none.

    The one with the lowest id, which as a rule is the first: others may be gone a moment later.
    """
    return min(_members(container_id, proc), default=0)


def kill_members(container_id: str, proc: Path = PROC) -> int:
    """Kills every process in the container's cgroup once, though Docker may not know of any; returns how many.

    For a container that is just coming up and of which nobody has said a process yet.
    """
    count = 0
    for pid in _members(container_id, proc):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            count += 1
    return count


def _members(container_id: str, proc: Path) -> Iterator[int]:
    names = {container_id, f"docker-{container_id}.scope"}
    for folder in proc.glob("[0-9]*"):
        try:
            lines = (folder / "cgroup").read_text().splitlines()
        except OSError:
            continue
        if any(names & set(line.split(":", 2)[2].split("/")) for line in lines):
            yield int(folder.name)


async def kill_container_processes(pid: int, container_id: str, limit_s: float = END_LIMIT_S) -> bool:
    """Kills everything in the container's cgroup, frozen or not; True when nothing of it is left.

    The signal comes before the thaw, so that nothing in it runs once more.
    """
    try:
        cgroup = find_freezer(pid, container_id)
    except NoCgroup:
        return True
    deadline = asyncio.get_running_loop().time() + limit_s
    while processes := cgroup.processes():
        for process in processes:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        with contextlib.suppress(OSError):  # the cgroup went with its last process
            cgroup.control.write_text(cgroup.thaw_word)
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True

"""Memory that the next dump can have at once: what the version before it lay in. Used by the version taker.

A virtual machine gives free memory back to its host within seconds, and gets it again page by page, several times
slower than CRIU writes; the container would stand still for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from pathlib import Path

KEEP_S = 20.0
"""On a disk. The kernel would write it out after 30 s, for nothing."""
ROOM = 0.1
"""Where less than this share of the file system is free, nothing is kept: others need the space."""
NAME = ".spare"


class Spare:
    """Keeps the staging folder of a version that is in storage, one on each node, until a dump needs its memory."""

    def __init__(self, staging: Path) -> None:
        self._folder = staging / NAME
        self._timer: asyncio.TimerHandle | None = None

    def keep(self, folder: Path) -> None:
        """Takes a folder that nobody needs any more."""
        self.release()
        try:
            if not _has_room(folder):
                shutil.rmtree(folder)
                return
            folder.rename(self._folder)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            return
        if not in_memory(self._folder):
            self._timer = asyncio.get_running_loop().call_later(KEEP_S, self.release)

    def release(self) -> None:
        """Gives the memory back; the next thing should be a dump."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        shutil.rmtree(self._folder, ignore_errors=True)


def _has_room(path: Path) -> bool:
    space = os.statvfs(path)
    return space.f_bavail >= space.f_blocks * ROOM


def in_memory(path: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether a path lies on a tmpfs. False when that cannot be told."""
    with contextlib.suppress(OSError):
        device = path.stat().st_dev
        wanted = f"{os.major(device)}:{os.minor(device)}"
        for line in mountinfo.read_text().splitlines():
            left, _, right = line.partition(" - ")
            if left.split(" ")[2] == wanted:
                return right.startswith("tmpfs ")
    return False

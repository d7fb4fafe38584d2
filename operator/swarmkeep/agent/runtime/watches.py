"""Which paths the processes of a container watch with inotify: CRIU cannot find that out on an overlay file system.

The kernel tells the number of the inode only, and overlayfs opens nothing by such a number. CRIU then looks at a list
of paths that it is given (`irmap-scan-path`); without them it refuses to dump what does no more than `tail -f`.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
SEARCH_LIMIT_S = 2.0
"""The longest that looking for the paths of a container may take."""

_WATCH = re.compile(r"^inotify wd:\S+ ino:([0-9a-f]+) sdev:([0-9a-f]+) ", re.MULTILINE)


class Watches:
    """Finds the paths, and looks again only for what is watched anew."""

    def __init__(self, proc: Path = PROC, limit_s: float = SEARCH_LIMIT_S) -> None:
        self._proc = proc
        self._limit_s = limit_s
        self._found: dict[tuple[str, int], dict[int, str | None]] = {}
        """Paths by container, its process, and inode; None for what was not found in time, never to be sought again."""

    def paths(self, container_id: str, pid: int, processes: Iterable[int]) -> list[str]:
        """Paths in the container that its processes watch. `pid` is one of them. Never raises: CRIU has the last word.

        Blocks for up to the limit when something is watched for the first time.
        """
        root = self._proc / str(pid) / "root"
        try:
            device = os.stat(root).st_dev
            watched = set().union(*(self._watched(process, device) for process in processes))
        except OSError:
            return []
        known = self._found.pop((container_id, pid), {})
        still = {inode: path for inode, path in known.items() if inode in watched and _is_still(root, path, inode)}
        if missing := watched - still.keys():
            found = _search(root, device, missing, time.monotonic() + self._limit_s)
            still |= {inode: found.get(inode) for inode in missing}
        # Containers that are gone leave nothing behind.
        self._found = {key: paths for key, paths in self._found.items() if (self._proc / str(key[1])).exists()}
        if still:
            self._found[container_id, pid] = still
        return sorted(path for path in still.values() if path is not None)

    def _watched(self, process: int, device: int) -> set[int]:
        """Numbers of the inodes of that file system that a process watches."""
        found: set[int] = set()
        folder = self._proc / str(process)
        try:
            descriptors = os.listdir(folder / "fd")
        except OSError:
            return found
        for descriptor in descriptors:
            try:
                if os.readlink(folder / "fd" / descriptor) == "anon_inode:inotify":
                    text = (folder / "fdinfo" / descriptor).read_text()
                    found |= {int(i, 16) for i, dev in _WATCH.findall(text) if int(dev, 16) == _kernel_device(device)}
            except OSError:
                continue
        return found


def _search(root: Path, device: int, wanted: set[int], ends_at: float) -> dict[int, str]:
    """Looks through a file system, what lies near its root first, until all is found or the time is up."""
    found = {os.stat(root).st_ino: "/"} if os.stat(root).st_ino in wanted else {}
    folders = deque([""])
    while folders and found.keys() != wanted and time.monotonic() < ends_at:
        folder = folders.popleft()
        try:
            with os.scandir(f"{root}/{folder}") as entries:
                for entry in entries:
                    facts = entry.stat(follow_symlinks=False)
                    if facts.st_dev != device:
                        continue
                    path = f"{folder}/{entry.name}"
                    if facts.st_ino in wanted:
                        found[facts.st_ino] = path
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
        except OSError:
            # It was removed meanwhile, or cannot be read.
            continue
    return found


def _is_still(root: Path, path: str | None, inode: int) -> bool:
    if path is None:
        return True
    try:
        return os.lstat(f"{root}{path}").st_ino == inode
    except OSError:
        return False


def _kernel_device(device: int) -> int:
    """A device number as the kernel writes it: 20 bits of minor number."""
    return os.major(device) << 20 | os.minor(device)

"""Copies of a running container's files that still hold when it stands still: proven, never guessed.

A file's copy holds if nobody had it open for writing before the copy was begun, and its facts were old before that was
asked and are the same when the container stands still. Whoever wrote to it in between had to open it, and the kernel
gave it a new change time at the first write, through a memory map as well. Without the first condition that would not
follow: a map that was written to before, or a write that is under way, changes a file and not its times.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from swarmkeep.agent.runtime.file_copy import copy_content
from swarmkeep.agent.runtime.layer_index import content_name

SETTLED_NS = 3_000_000_000
"""A file must not have changed for so long: the coarsest file systems tell times by the second or two."""
TELLING = frozenset({"ext2", "ext3", "ext4", "xfs"})
"""File systems that give a file a new time at the first write through a new memory map. tmpfs does not."""


class Facts(NamedTuple):
    """By these a file is known to be as it was."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def facts_of(found: os.stat_result) -> Facts:
    """The facts of a file that was looked at."""
    return Facts(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def copy_ahead(source: Path, files: Path, above: int, check: Callable[[], None]) -> dict[str, Facts]:
    """Copies what is quiet and larger than `above` bytes into the folder `files`, under the names that a layer gives.

    Returns by path what each file was like. What cannot be copied this way, or goes away meanwhile, is left out.
    `check` raises to end it. Raises OSError when `files` cannot be written.
    """
    copied: dict[str, Facts] = {}
    if not tells_changes(source):
        return copied
    for folder, _, names, handle in os.fwalk(source):
        inside = os.path.relpath(folder, source)
        for name in sorted(names):
            check()
            path = name if inside == "." else f"{inside}/{name}"
            quiet = _open_quiet(handle, name, above)
            if quiet is None:
                continue
            opened, before = quiet
            try:
                if _copy(opened, files / content_name(path), before, check):
                    copied[path] = before
            finally:
                os.close(opened)
    return copied


def tells_changes(folder: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether a file there cannot be changed without a new time. False when that cannot be told."""
    try:
        device = folder.stat().st_dev
        lines = mountinfo.read_text().splitlines()
    except OSError:
        return False
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        left, _, right = line.partition(" - ")
        if left.split(" ")[2] == wanted:
            return right.split(" ")[0] in TELLING
    return False


def has_writers(opened: int) -> bool:
    """Whether anybody in the system has the file open for writing, mapped or not; also when that cannot be told.

    The kernel grants a read lease only if nobody has; it is given back at once. Source: fcntl(2), F_SETLEASE.
    """
    try:
        # Should somebody open it for writing in that moment: the default signal would end this process.
        fcntl.fcntl(opened, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        return True
    with contextlib.suppress(OSError):
        fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _open_quiet(folder: int, name: str, above: int) -> tuple[int, Facts] | None:
    """Opens a regular file that has not changed for long and has no writers, with its facts from before that was asked.

    Whoever opens it for writing after the answer changes them.
    """
    try:
        # Not yet for reading: to open a device for that may do something to it.
        looked_at = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            if not stat.S_ISREG(os.fstat(looked_at).st_mode):
                return None
            opened = os.open(f"/proc/self/fd/{looked_at}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        finally:
            os.close(looked_at)
    except OSError:
        return None
    found = os.fstat(opened)
    if found.st_size <= above or found.st_ctime_ns > time.time_ns() - SETTLED_NS or has_writers(opened):
        os.close(opened)
        return None
    return opened, facts_of(found)


def _copy(opened: int, path: Path, before: Facts, check: Callable[[], None]) -> bool:
    """Whether the copy is of the file as it was before."""
    target = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        copy_content(opened, target, before.size, check)
        if facts_of(os.fstat(opened)) == before:
            return True
    except OSError as error:
        if error.errno in (28, 122):  # ENOSPC, EDQUOT
            raise
    finally:
        os.close(target)
    path.unlink()
    return False

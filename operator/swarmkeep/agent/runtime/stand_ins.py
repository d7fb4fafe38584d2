"""Puts something in the place of what is mounted into a container, for a trial of its version.

What the real one only reads is copied when it is small; what it writes to is left empty, for a trial must not even
take a lock on it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from swarmkeep.agent.runtime.isolation import StandIn
from swarmkeep.store.os_errors import on_this_node

COPIED_BYTES = 64 << 20
"""Read-only mounts up to this size are copied."""
COPIED_FILES = 5_000


def put_in_place(places: Sequence[StandIn], folder: Path) -> tuple[dict[str, str], list[str]]:
    """Makes a stand-in for each place below `folder`.

    Returns their paths by target, and the names of what is left empty. Raises StorageFull, HostError.
    """
    made: dict[str, str] = {}
    left_out: list[str] = []
    with on_this_node(f"making stand-ins for mounts in {folder}"):
        for number, place in enumerate(places):
            path = folder / str(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            source = Path(place.source)
            if place.read_only and place.source and _is_small(source):
                _copy(source, path)
            else:
                _make_empty(source, path)
                left_out.append(place.name)
            made[place.target] = str(path)
    return made, left_out


def _is_small(source: Path) -> bool:
    """Whether it is there and is plain files of little size, none of which leads elsewhere."""
    if source.is_file():
        return source.stat().st_size <= COPIED_BYTES
    if not source.is_dir():
        return False
    size = count = 0
    for root, folders, files in os.walk(source):
        for name in (*folders, *files):
            path = Path(root, name)
            if not (path.is_symlink() or path.is_file() or path.is_dir()):
                return False
            size += path.lstat().st_size
            count += 1
            if size > COPIED_BYTES or count > COPIED_FILES:
                return False
    return True


def _copy(source: Path, path: Path) -> None:
    if source.is_file():
        shutil.copy2(source, path)
        _own(source, path)
        return
    shutil.copytree(source, path, symlinks=True)
    for root, folders, files in os.walk(path):
        inside = Path(root).relative_to(path)
        for name in ("", *folders, *files):
            _own(source / inside / name, Path(root) / name)


def _own(source: Path, path: Path) -> None:
    found = source.lstat()
    os.chown(path, found.st_uid, found.st_gid, follow_symlinks=False)


def _make_empty(source: Path, path: Path) -> None:
    """Like it in kind, mode and owner, where that can be known on this node."""
    if source.exists() and not source.is_dir():
        path.touch()
    else:
        path.mkdir()
        path.chmod(0o1777)
    if source.is_dir() or source.is_file():
        path.chmod(source.stat().st_mode & 0o7777)
        _own(source, path)

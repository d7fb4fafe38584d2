"""Whether this node's disk has room for another version, asked before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

from swarmkeep.errors import StorageFull
from swarmkeep.model.quantity import format_bytes
from swarmkeep.store.os_errors import on_this_node

RESERVED_SHARE = 0.05
"""Of the disk stays free, since whatever else runs on the node needs room too,"""
RESERVED_BYTES = 1 << 30
"""but no more than this."""


def free_bytes(folder: Path) -> int:
    """What may still be written below `folder`, which need not exist yet. Raises OSError."""
    while not folder.exists():
        folder = folder.parent
    found = os.statvfs(folder)
    reserved = min(RESERVED_BYTES, int(found.f_blocks * found.f_frsize * RESERVED_SHARE))
    return max(0, found.f_bavail * found.f_frsize - reserved)


def require_room(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Raises StorageFull when so much does not fit below `folder`, HostError when nobody can say."""
    with on_this_node(f"looking for room in {folder}"):
        free = free_bytes(folder)
    if needed_bytes > free:
        raise StorageFull(
            f"no room in {folder} for {purpose}: it needs {format_bytes(needed_bytes)}, {format_bytes(free)} may be "
            "used (some of the disk stays free for others); free some or enlarge it"
        )

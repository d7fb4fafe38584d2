"""How much room a file system has, for people: roughly, so that a report is not written for every byte."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

STEPS = 100
"""Free space is told in so many parts of the whole."""


def read_space(path: Path) -> dict[str, Any]:
    """Path, totalBytes and freeBytes as a Node object has them; empty when the file system does not say.

    Blocks for as long as the file system does.
    """
    try:
        found = os.statvfs(path)
    except OSError:
        return {}
    total = found.f_blocks * found.f_frsize
    step = max(1, total // STEPS)
    return {"path": str(path), "totalBytes": total, "freeBytes": found.f_bavail * found.f_frsize // step * step}

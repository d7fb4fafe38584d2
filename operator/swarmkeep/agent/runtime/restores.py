"""What the shim left behind about restores on this node. Read by the scheduler and the observer."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

LAZY_PID = "lazy-pages.pid"
"""Written by the shim's server of lazy pages, and removed when all pages are in place."""
LAZY_FAILED = "lazy-pages.failed"


class Restores:
    """Looks into the work folders that the agent hands the shim, one for each restored container."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def still_reading(self, container_id: str) -> bool:
        """Whether pages are still being read from the image: a version taken now would lack them."""
        try:
            server = int((self._folder / container_id / LAZY_PID).read_text())
        except (OSError, ValueError):
            return False
        return Path(f"/proc/{server}").exists()

    def lost_pages(self, container_id: str) -> bool:
        """Whether the server of pages died too early; the container was killed then, with pages missing."""
        return (self._folder / container_id / LAZY_FAILED).exists()

    def forget(self, container_id: str) -> None:
        """The container is gone, and what is here has been taken into account."""
        folder = self._folder / container_id
        with contextlib.suppress(OSError):
            if any(map(os.path.ismount, folder.iterdir())):
                # Of a CRIU that was killed together with the shim: all cgroups, which must not be gone into.
                return
        shutil.rmtree(folder, ignore_errors=True)

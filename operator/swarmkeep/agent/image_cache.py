"""The newest versions of this node's workloads as folders that a restore can use at once.

An entry is whole exactly when its mark lies beside it, names this boot of the node, and what it says of the folder's
files is true. Nothing is synced: what was only in memory is lost with the boot, and with it the mark's word. So filling
the cache costs no writing beyond what the kernel does by itself, and whatever is doubtful is read from storage again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import stat
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime
from pathlib import Path

import structlog

from swarmkeep.agent.room import free_bytes
from swarmkeep.errors import HostError, InvalidObject
from swarmkeep.model.ident import Ref
from swarmkeep.model.wire import format_time, parse_time
from swarmkeep.obs import agent_metrics as metrics
from swarmkeep.plan.caching import Image, cache_limit, plan_eviction
from swarmkeep.store.os_errors import on_this_node

log = structlog.get_logger(__name__)

Key = tuple[Ref, int]


class ImageCache:
    """Entries by workload and version. Most methods work on the disk: in the agent's loop call them in threads."""

    def __init__(
        self, folder: Path, boot_id: str, limit_bytes: int, being_read: Callable[[], frozenset[Key]] = frozenset
    ) -> None:
        """`being_read`: versions whose pages a restored process still reads, which must therefore stay."""
        self._folder = folder
        self._boot_id = boot_id
        self._limit_bytes = limit_bytes
        self._being_read = being_read
        self._held: Counter[Key] = Counter()
        self._locks: dict[Key, asyncio.Lock] = {}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._images = {(image.workload, image.number): image for image in self._scan()}
        self._publish()

    @asynccontextmanager
    async def filling(self, workload: Ref, number: int) -> AsyncIterator[None]:
        """One at a time may make a folder at `path`."""
        lock = self._locks.setdefault((workload, number), asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._locks.pop((workload, number), None)

    def is_filling(self, workload: Ref, number: int) -> bool:
        """Whether somebody makes a folder at `path` now."""
        return (workload, number) in self._locks

    def path(self, workload: Ref, number: int) -> Path:
        """Where the folder of a version is, or would be."""
        return self._folder / f"{workload.namespace}_{workload.name}" / f"v{number}"

    def images(self) -> list[Image]:
        """All entries."""
        return list(self._images.values())

    def newest(self, workload: Ref) -> int | None:
        """Number of the newest entry of a workload."""
        return max((number for ref, number in list(self._images) if ref == workload), default=None)

    @contextmanager
    def using(self, workload: Ref, number: int) -> Iterator[None]:
        """The entry is not let go meanwhile."""
        self._held[workload, number] += 1
        try:
            yield
        finally:
            self._held[workload, number] -= 1

    def find(self, workload: Ref, number: int) -> Path | None:
        """The folder of a version if it is there and whole; one that is not is removed."""
        path = self.path(workload, number)
        if (workload, number) not in self._images:
            metrics.CACHE_READS.labels("missing").inc()
            return None
        if self._is_whole(path):
            metrics.CACHE_READS.labels("found").inc()
            return path
        metrics.CACHE_READS.labels("damaged").inc()
        log.error("a cached image is damaged and is read from storage again", path=str(path))
        self.drop(workload, number)
        return None

    def adopt(self, workload: Ref, number: int, taken_at: datetime, folder: Path) -> None:
        """Takes over a folder that holds a version; it is gone from its place afterwards, cached or not."""
        path = self.path(workload, number)
        try:
            if self._limit_bytes:
                self.drop(workload, number)
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                folder.rename(path)
                self.mark(workload, number, taken_at)
        except (OSError, HostError) as error:
            # Another file system, or a full one. The version is safe in storage.
            log.info("a version is not cached", workload=str(workload), version=number, error=str(error))
            self.drop(workload, number)
        shutil.rmtree(folder, ignore_errors=True)

    def mark(self, workload: Ref, number: int, taken_at: datetime) -> None:
        """Says that the folder at `path` is whole now, and makes room for it. Raises HostError."""
        path = self.path(workload, number)
        with on_this_node(f"marking {path} as whole"):
            size = _allocated_bytes(path)
            record = {
                "workload": str(workload),
                "number": number,
                "takenAt": format_time(taken_at),
                "bytes": size,
                "boot": self._boot_id,
                "print": _fingerprint(path),
            }
            temporary = _mark_path(path).with_suffix(".new")
            temporary.write_text(json.dumps(record))
            temporary.rename(_mark_path(path))
        self._images[workload, number] = Image(workload, number, taken_at, size)
        self.trim()

    def unmark(self, workload: Ref, number: int) -> None:
        """The folder is about to be changed: it counts no longer.

        A mark that a broken disk does not let go of is untrue as soon as the folder is changed.
        """
        self._images.pop((workload, number), None)
        with suppress(OSError):
            _mark_path(self.path(workload, number)).unlink()

    def take(self, workload: Ref, number: int) -> Path | None:
        """Gives an entry away, to be changed into another: a folder that only the caller knows. None when it is in use.

        Raises HostError.
        """
        key = (workload, number)
        if self._held[key] or key in self._being_read() or self.is_filling(workload, number):
            return None
        path = self.find(workload, number)
        if path is None or self._images.pop(key, None) is None:
            # The second is of another thread that takes it right now.
            return None
        taken = path.with_name(f"{path.name}.base")
        with on_this_node(f"taking {path} out of the cache"):
            self.unmark(workload, number)
            shutil.rmtree(taken, ignore_errors=True)
            path.rename(taken)
        return taken

    def drop(self, workload: Ref, number: int) -> None:
        """Removes an entry; nothing happens when there is none."""
        self.unmark(workload, number)
        shutil.rmtree(self.path(workload, number), ignore_errors=True)
        with suppress(OSError):
            self.path(workload, number).parent.rmdir()
        self._publish()

    def trim(self) -> None:
        """Lets go of what is beyond the limits."""
        cached = sum(image.bytes for image in self.images())
        try:
            limit = cache_limit(self._limit_bytes, free_bytes(self._folder), cached)
        except OSError:
            limit = 0
        self._evict(limit)

    def make_room(self, needed_bytes: int, where: Path) -> None:
        """Lets go of as much as it takes that so much can be written below `where`, if that is on the cache's disk.

        Raises OSError.
        """
        if where.stat().st_dev != self._folder.stat().st_dev:
            return
        cached = sum(image.bytes for image in self.images())
        missing = needed_bytes - free_bytes(self._folder)
        if missing > 0:
            self._evict(max(0, cached - missing))

    def _evict(self, limit_bytes: int) -> None:
        in_use = frozenset(key for key, count in self._held.items() if count > 0) | self._being_read()
        for image in plan_eviction(self.images(), in_use, limit_bytes):
            self.drop(image.workload, image.number)
        self._publish()

    def _publish(self) -> None:
        metrics.CACHE_BYTES.set(sum(image.bytes for image in self.images()))

    def _is_whole(self, path: Path) -> bool:
        try:
            record = json.loads(_mark_path(path).read_bytes())
            return bool(record["boot"] == self._boot_id and record["print"] == _fingerprint(path))
        except (OSError, ValueError, KeyError):
            return False

    def _scan(self) -> Iterator[Image]:
        """What an earlier life of the agent has left; whatever has no good mark goes."""
        for path in self._folder.glob("*/*"):
            if not path.is_dir():
                continue
            try:
                record = json.loads(_mark_path(path).read_bytes())
                image = Image(
                    Ref.parse(record["workload"]), record["number"], parse_time(record["takenAt"]), record["bytes"]
                )
                if record["boot"] == self._boot_id and path == self.path(image.workload, image.number):
                    yield image
                    continue
            except (OSError, ValueError, KeyError, InvalidObject):
                pass
            shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):
                _mark_path(path).unlink()


def _mark_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.whole")


def _fingerprint(folder: Path) -> str:
    """Says of every file below `folder` what is known without reading it."""
    digest = hashlib.blake2b(digest_size=16)
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted([*folders, *files]):
            found = os.lstat(os.path.join(root, name))
            size = found.st_size if stat.S_ISREG(found.st_mode) else 0
            told = f"{os.path.relpath(root, folder)}/{name}\0{found.st_mode}\0{size}\0{found.st_mtime_ns}\n"
            digest.update(os.fsencode(told))
    return digest.hexdigest()


def _allocated_bytes(folder: Path) -> int:
    return sum(
        os.lstat(os.path.join(root, name)).st_blocks * 512 for root, _, files in os.walk(folder) for name in files
    )

"""Blobs in memory: for tests and trials of everything that stands on the port."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from swarmkeep.errors import Conflict, CorruptData, NotFound
from swarmkeep.store.blob import BlobInfo, check_key, check_prefix, check_range


class MemoryBlobStore:
    """A BlobStore that ends with the process."""

    description = "memory"

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._blobs: dict[str, tuple[bytes, float]] = {}

    def put(self, key: str, chunks: Iterable[bytes | bytearray | memoryview]) -> int:
        check_key(key)
        if key in self._blobs:
            raise Conflict(f"{self.description}: {key} exists already")
        content = bytearray()
        for chunk in chunks:
            content += chunk
        with self._lock:
            if key in self._blobs:
                raise Conflict(f"{self.description}: {key} exists already")
            self._blobs[key] = (bytes(content), self._clock())
        return len(content)

    def get(self, key: str, max_bytes: int) -> bytes:
        content = self._content(key)
        if len(content) > max_bytes:
            raise CorruptData(f"{key} has {len(content)} bytes, more than the {max_bytes} that it may")
        return content

    def read(self, key: str, offset: int, length: int) -> bytes:
        content = self._content(key)
        check_range(key, offset, length, len(content), self.description)
        return content[offset : offset + length]

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        check_prefix(prefix)
        with self._lock:
            found = [BlobInfo(key, len(blob), at) for key, (blob, at) in self._blobs.items() if key.startswith(prefix)]
        return iter(found)

    def delete(self, key: str) -> None:
        check_key(key)
        with self._lock:
            self._blobs.pop(key, None)

    def discard_unfinished(self, older_than: float) -> int:  # noqa: ARG002 - a put here leaves nothing unfinished
        return 0

    def _content(self, key: str) -> bytes:
        check_key(key)
        with self._lock:
            blob = self._blobs.get(key)
        if blob is None:
            raise NotFound(f"{self.description}: {key} is not there")
        return blob[0]

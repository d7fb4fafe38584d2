"""Holds back what goes to storage: a wrapper around any BlobStore with a limit in bytes per second.

Only puts wait. Reading is not held back: whoever reads wants a workload to run again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from swarmkeep.store.blob import BlobInfo, BlobStore

_PIECE_BYTES = 256 << 10
"""What goes at once; then there is a wait."""


class LimitedBlobStore:
    """A BlobStore whose puts, all threads together, take no more than `bytes_per_second`.

    It is an average. Storage that wants a blob in one piece (S3) is given it when all of it may go, and takes it as
    fast as it can.
    """

    def __init__(
        self,
        inner: BlobStore,
        bytes_per_second: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._inner = inner
        self._rate = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = 0.0
        self.description = inner.description

    def put(self, key: str, chunks: Iterable[bytes | bytearray | memoryview]) -> int:
        return self._inner.put(key, self._held_back(chunks))

    def get(self, key: str, max_bytes: int) -> bytes:
        return self._inner.get(key, max_bytes)

    def read(self, key: str, offset: int, length: int) -> bytes:
        return self._inner.read(key, offset, length)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        return self._inner.list(prefix)

    def delete(self, key: str) -> None:
        self._inner.delete(key)

    def discard_unfinished(self, older_than: float) -> int:
        return self._inner.discard_unfinished(older_than)

    def _held_back(self, chunks: Iterable[bytes | bytearray | memoryview]) -> Iterator[memoryview]:
        for chunk in chunks:
            view = memoryview(chunk)
            for start in range(0, len(view), _PIECE_BYTES):
                piece = view[start : start + _PIECE_BYTES]
                self._wait(len(piece))
                yield piece

    def _wait(self, size: int) -> None:
        """Returns when the piece may go: as soon as the ones before it have had their time."""
        with self._lock:
            now = self._clock()
            starts_at = max(now, self._free_at)
            self._free_at = starts_at + size / self._rate
        if starts_at > now:
            self._sleep(starts_at - now)

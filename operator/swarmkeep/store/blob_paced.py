"""A BlobStore whose reader is told how much it has read, so that background work can be kept slow. Writes pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from swarmkeep.store.blob import BlobInfo, BlobStore


class PacedBlobStore:
    """Wraps another BlobStore; see blob.py for the contract."""

    def __init__(self, inner: BlobStore, pace: Callable[[int], None]) -> None:
        """`pace` gets the number of bytes of each blob or part of one that was read, and may take its time."""
        self._inner = inner
        self._pace = pace

    @property
    def description(self) -> str:
        return self._inner.description

    def put(self, key: str, chunks: Iterable[bytes | bytearray | memoryview]) -> int:
        return self._inner.put(key, chunks)

    def get(self, key: str, max_bytes: int) -> bytes:
        content = self._inner.get(key, max_bytes)
        self._pace(len(content))
        return content

    def read(self, key: str, offset: int, length: int) -> bytes:
        content = self._inner.read(key, offset, length)
        self._pace(len(content))
        return content

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        return self._inner.list(prefix)

    def delete(self, key: str) -> None:
        self._inner.delete(key)

    def discard_unfinished(self, older_than: float) -> int:
        return self._inner.discard_unfinished(older_than)

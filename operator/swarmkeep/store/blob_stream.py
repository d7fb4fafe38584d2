"""Reads a blob from its beginning to its end in large steps. Memory: one step."""

from __future__ import annotations

from collections.abc import Iterator

from swarmkeep.errors import MissingData, NotFound
from swarmkeep.store.blob import BlobStore

_STEP_BYTES = 8 << 20


class BlobStream:
    """The bytes of one blob, front to back."""

    def __init__(self, blobs: BlobStore, key: str, size: int) -> None:
        self._blobs = blobs
        self._key = key
        self._size = size
        self._position = 0
        self._step = memoryview(b"")

    def take(self, length: int) -> Iterator[memoryview]:
        """The next `length` bytes in pieces; the caller never takes more than the size.

        Raises MissingData when the blob is gone, CorruptData when it is too short.
        """
        while length:
            if not self._step:
                self._step = memoryview(self._read())
            piece = self._step[:length]
            self._step = self._step[len(piece) :]
            length -= len(piece)
            yield piece

    def _read(self) -> bytes:
        wanted = min(_STEP_BYTES, self._size - self._position)
        try:
            content = self._blobs.read(self._key, self._position, wanted)
        except NotFound as error:
            raise MissingData(f"the bytes of the version are gone: {error}") from error
        self._position += wanted
        return content

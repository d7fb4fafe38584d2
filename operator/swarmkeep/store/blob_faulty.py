"""Storage that goes wrong on command: failure as a component, for the tests of whatever stands on the port.

It wraps another BlobStore and follows a map, one letter for each call (`discard_unfinished` is not counted):

    r   runs as it should
    E   fails with Unavailable and has done nothing
    e   does its work and then fails with Unavailable, like an answer that got lost
    F   a put fails with StorageFull half way through its bytes, other calls run
    T   a put leaves its blob cut in half and says nothing; a get or read returns with its last byte wrong
    S   takes `slow_s` seconds
    X   the process dies: this call does nothing, and it and all later ones raise Crashed
    Y   the process dies right after this call has done its work

Where the map ends, calls run as they should.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from swarmkeep.errors import StorageFull, Unavailable
from swarmkeep.store.blob import BlobInfo, BlobStore

T = TypeVar("T")
Chunks = Iterable[bytes | bytearray | memoryview]


class Crashed(BaseException):
    """The process that uses the storage is dead: nothing may catch this and go on."""


class FaultyBlobStore:
    """A BlobStore that fails as its map says."""

    def __init__(
        self, inner: BlobStore, faults: str = "", *, slow_s: float = 1.0, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._inner = inner
        self._faults = faults
        self._slow_s = slow_s
        self._sleep = sleep
        self._crashed = False
        self.calls = 0
        """How many calls there have been."""
        self.description = f"faulty {inner.description}"

    def put(self, key: str, chunks: Chunks) -> int:
        fault = self._next()
        if fault == "F":
            return self._inner.put(key, _until_full(chunks, self.description))
        if fault == "T":
            content = b"".join(bytes(chunk) for chunk in chunks)
            self._inner.put(key, [content[: len(content) // 2]])
            return len(content)
        return self._run(fault, lambda: self._inner.put(key, chunks))

    def get(self, key: str, max_bytes: int) -> bytes:
        fault = self._next()
        content = self._run(fault, lambda: self._inner.get(key, max_bytes))
        return _damaged(content) if fault == "T" else content

    def read(self, key: str, offset: int, length: int) -> bytes:
        fault = self._next()
        content = self._run(fault, lambda: self._inner.read(key, offset, length))
        return _damaged(content) if fault == "T" else content

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        return iter(self._run(self._next(), lambda: list(self._inner.list(prefix))))

    def delete(self, key: str) -> None:
        self._run(self._next(), lambda: self._inner.delete(key))

    def discard_unfinished(self, older_than: float) -> int:
        return self._inner.discard_unfinished(older_than)

    def _next(self) -> str:
        if self._crashed:
            raise Crashed
        fault = self._faults[self.calls] if self.calls < len(self._faults) else "r"
        self.calls += 1
        return fault

    def _run(self, fault: str, call: Callable[[], T]) -> T:
        if fault == "X":
            self._crashed = True
            raise Crashed
        if fault == "E":
            raise Unavailable(f"{self.description} does not answer")
        if fault == "S":
            self._sleep(self._slow_s)
        result = call()
        if fault == "Y":
            self._crashed = True
            raise Crashed
        if fault == "e":
            raise Unavailable(f"{self.description} has stopped answering")
        return result


def _until_full(chunks: Chunks, where: str) -> Iterator[bytes]:
    for chunk in chunks:
        yield bytes(chunk[: len(chunk) // 2])
        break
    raise StorageFull(f"{where}: no space left")


def _damaged(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1]) if content else content

"""Repeats what storage did not answer: a wrapper around any BlobStore, for those beyond a network.

Only Unavailable is repeated, and only what the port allows to be; where another try cannot help (Absent) there is none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_before_delay, wait_random_exponential

from swarmkeep.errors import Conflict, DataError, NotFound, Unavailable
from swarmkeep.store.blob import Absent, BlobInfo, BlobStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """How long to go on."""

    limit_s: float = 30.0
    """No try begins later than this after the first: a call takes at most that and what its last try takes."""
    first_wait_s: float = 0.25
    """The first wait is at most this long, each one after it up to twice as long as the one before, by chance."""
    longest_wait_s: float = 8.0


class RetryingBlobStore:
    """A BlobStore that does not give up at once. Holds one blob in memory while it is put."""

    def __init__(
        self,
        inner: BlobStore,
        settings: RetrySettings = RetrySettings(),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._inner = inner
        self._settings = settings
        self._sleep = sleep
        self.description = inner.description

    def put(self, key: str, chunks: Iterable[bytes | bytearray | memoryview]) -> int:
        content = b"".join(bytes(chunk) for chunk in chunks)
        tried = False

        def put() -> int:
            nonlocal tried
            try:
                return self._inner.put(key, [content])
            except Conflict:
                # A try that was not answered may have done its work all the same.
                if tried and self._is_there(key, content):
                    return len(content)
                raise
            except Unavailable:
                tried = True
                raise

        return self._repeat(put)

    def get(self, key: str, max_bytes: int) -> bytes:
        return self._repeat(lambda: self._inner.get(key, max_bytes))

    def read(self, key: str, offset: int, length: int) -> bytes:
        return self._repeat(lambda: self._inner.read(key, offset, length))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        # Half a listing cannot be taken back, so it is complete before anybody sees its first line.
        return iter(self._repeat(lambda: list(self._inner.list(prefix))))

    def delete(self, key: str) -> None:
        self._repeat(lambda: self._inner.delete(key))

    def discard_unfinished(self, older_than: float) -> int:
        return self._repeat(lambda: self._inner.discard_unfinished(older_than))

    def _is_there(self, key: str, content: bytes) -> bool:
        try:
            return self._inner.get(key, len(content)) == content
        except (NotFound, DataError):
            return False

    def _repeat(self, call: Callable[[], T]) -> T:
        settings = self._settings
        retrying = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_before_delay(settings.limit_s),
            wait=wait_random_exponential(multiplier=settings.first_wait_s, max=settings.longest_wait_s),
            sleep=self._sleep,
            reraise=True,
        )
        return retrying(call)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Unavailable) and not isinstance(error, Absent)

"""The port that storage has to offer, and what it has to promise.

A blob is a run of bytes under a key. The repository builds on nothing else, so every kind of storage that keeps this
contract can hold versions; tests/contract/store holds each adapter against it.

The contract:

- **Keys** are segments joined by `/`; a segment is 1 to 200 of `A-Z a-z 0-9 . _ -` and does not begin with a dot. At
  most 1,000 characters and 12 segments. Anything else raises InvalidObject before storage is touched.
- **put** stores a blob whole or not at all. When it returns, the blob survives a power cut, and every later get, read
  or list on any node sees it. When the key is taken it raises Conflict and changes nothing: of two writers at once
  exactly one wins. After Unavailable the blob may be there or not, or get there late, but never in part; after any
  other error it is not there.
- **get**, **read** return exactly what was put; a key that is not there raises NotFound.
- **list** yields every blob whose key begins with the prefix, in no particular order. Blobs that come or go meanwhile
  may be missing or present; those that stay are present exactly once.
- **delete** returns when the blob is gone for good; a key that is not there is no error, so repeating is safe.
- **Errors**: StorageFull (no space or quota), Unavailable (storage does not answer or answers oddly, try later; Absent
  where another try at once cannot help), HostError (this node may not do it: permissions, a read-only mount). No
  OSError passes.
- **Repeating**: get, read, list, delete and discard_unfinished may be repeated after Unavailable. A put may, too: if it
  then raises Conflict, whoever repeats has to look whether the blob that is there is the one of the first try.
- **Threads**: all calls may come from several threads at once.
- **Blocking**: calls block, as long as the storage below lets them; adapters of remote storage must set limits of their
  own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from swarmkeep.errors import CorruptData, InvalidObject, Unavailable

_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}", re.ASCII)
_MAX_KEY_LENGTH = 1000
_MAX_SEGMENTS = 12


class Absent(Unavailable):
    """There is no such storage now (the bucket does not exist): trying again at once does not help."""


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What a listing says of a blob."""

    key: str
    size: int
    modified_at: float
    """When it was put, in seconds since the epoch, by the clock of the storage."""


class BlobStore(Protocol):
    """Storage for blobs; see the module for what it promises."""

    @property
    def description(self) -> str:
        """Where this is, for error messages: `folder /mnt/versions`."""

    def put(self, key: str, chunks: Iterable[bytes | bytearray | memoryview]) -> int:
        """Stores a new blob out of `chunks`, returns its size. A chunk may change once the next one is asked for.

        What `chunks` raises passes through, and nothing is stored then.
        """

    def get(self, key: str, max_bytes: int) -> bytes:
        """The whole blob; CorruptData when it is longer than `max_bytes`."""

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; CorruptData when the blob ends before."""

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """The blobs below `prefix`, which is empty (all) or whole segments ending in `/`."""

    def delete(self, key: str) -> None:
        """Removes the blob for good."""

    def discard_unfinished(self, older_than: float) -> int:
        """Removes what interrupted puts left behind and nothing has written to since `older_than`.

        `older_than` is in seconds since the epoch. Returns how many were removed.
        """


def check_key(key: str) -> str:
    """Returns `key` if it is one; raises InvalidObject."""
    segments = key.split("/")
    if len(key) > _MAX_KEY_LENGTH or len(segments) > _MAX_SEGMENTS or not all(map(_SEGMENT.fullmatch, segments)):
        raise InvalidObject(f"{key[:200]!r} is no key for a blob")
    return key


def check_prefix(prefix: str) -> str:
    """Returns `prefix` if `list` may be asked for it; raises InvalidObject."""
    if prefix:
        if not prefix.endswith("/"):
            raise InvalidObject(f"{prefix[:200]!r} is no prefix of blobs: it has to end in /")
        check_key(prefix[:-1])
    return prefix


def check_range(key: str, offset: int, length: int, size: int, where: str) -> None:
    """Raises CorruptData unless a blob of `size` bytes has `length` bytes at `offset`."""
    if offset < 0 or length < 0:
        raise InvalidObject(f"no range of a blob: {length} bytes at {offset}")
    if offset + length > size:
        raise CorruptData(
            f"{where}: {key} has {size} bytes where at least {offset + length} must be: it was cut short or replaced"
        )

"""Blobs as objects in a bucket of S3, or of a server that speaks its language.

A put is one PUT of the whole blob, never a multipart upload: a process that dies on the way leaves nothing behind,
neither half a blob nor parts that cost money. Names that begin with a dot are no blobs: `.probes/` and `.claims/`.

Servers differ in what they leave out, and some answer wrongly instead of saying so. So a store looks, before its first
put and its first ranged read, whether this one does what it has to; where it does not, it works without. `notes` says
what that costs.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from swarmkeep.errors import Conflict, HostError, InvalidObject
from swarmkeep.store.blob import BlobInfo, check_key, check_prefix, check_range
from swarmkeep.store.object_claims import CLAIMS, Claims
from swarmkeep.store.object_client import Content, ObjectClient
from swarmkeep.store.object_probe import PROBES, Abilities, probe

_MAX_WHOLE_BYTES = 1 << 30
"""What is read whole where ranges cannot be had; a pack has some 34 MiB."""


class ObjectBlobStore:
    """A BlobStore in a bucket. Holds one blob in memory while it is put."""

    def __init__(self, client: ObjectClient, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._claims = Claims(client, sleep=sleep)
        self._lock = threading.Lock()
        self._known: Abilities | None = None
        self._is_read_only = False
        self._whole: tuple[str, bytes] | None = None
        self.description = client.description

    def examine(self) -> tuple[str, ...]:
        """Looks, once, what the server can do; returns what it lacks, each a sentence for the user.

        Raises HostError where this node may not write and delete, Unavailable.
        """
        return self._abilities().notes

    def put(self, key: str, chunks: Iterable[bytes | bytearray | memoryview]) -> int:
        check_key(key)
        content = _joined(chunks)
        if self._abilities().refuses_taken:
            self._client.put(key, content, only_new=True)
            return len(content)
        with self._claims.alone(key, content) as free:
            if not free:
                raise Conflict(f"{self.description}: {key} exists already")
            self._client.put(key, content, only_new=False)
        return len(content)

    def get(self, key: str, max_bytes: int) -> bytes:
        return self._client.get(check_key(key), max_bytes)

    def read(self, key: str, offset: int, length: int) -> bytes:
        check_key(key)
        if length > 0 and offset >= 0 and self._reads_ranges():
            return self._client.read(key, offset, length)
        content = self._content(key)
        check_range(key, offset, length, len(content), self.description)
        return content[offset : offset + length]

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        check_prefix(prefix)
        return (info for info in self._client.list(prefix) if _is_key(info.key))

    def delete(self, key: str) -> None:
        self._client.delete(check_key(key))

    def discard_unfinished(self, older_than: float) -> int:
        removed = 0
        for prefix in (PROBES, CLAIMS):
            for info in self._client.list(prefix):
                if info.modified_at < older_than:
                    self._client.delete(info.key)
                    removed += 1
        return removed

    def _abilities(self) -> Abilities:
        """What the server can do. Raises what the probe's requests raise; then the next call looks again."""
        with self._lock:
            if self._known is None:
                self._known = probe(self._client, secrets.token_hex(16))
            return self._known

    def _reads_ranges(self) -> bool:
        if self._is_read_only:
            return False
        try:
            return self._abilities().reads_ranges
        except HostError:
            # Where nothing may be written, nothing can be tried out: whole blobs are right on any server.
            self._is_read_only = True
            return False

    def _content(self, key: str) -> bytes:
        """A whole blob. The last one is kept: what is read piece by piece is read from it."""
        with self._lock:
            kept = self._whole
        if kept is not None and kept[0] == key and self._client.size(key) == len(kept[1]):
            return kept[1]
        content = self._client.get(key, _MAX_WHOLE_BYTES)
        with self._lock:
            self._whole = (key, content)
        return content


def _joined(chunks: Iterable[bytes | bytearray | memoryview]) -> Content:
    """One buffer; no copy where there is one chunk that cannot change."""
    content: Content = b""
    for chunk in chunks:
        if not content and isinstance(chunk, bytes):
            content = chunk
            continue
        if isinstance(content, bytes):
            content = bytearray(content)
        content += chunk
    return content


def _is_key(name: str) -> bool:
    try:
        check_key(name)
    except InvalidObject:
        return False
    return True

"""Versions of workloads in a storage location: put a folder, get a folder.

Used by the agent and the operator, in threads.

A version's bytes are written first, its manifest last and only if none is there. So a version exists exactly when its
manifest does, and bytes without a manifest are garbage: `sweep` removes them once no writer can be at work on them.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blake3 import blake3

from swarmkeep.errors import Conflict, DataError, NotFound, SwarmKeepError, Unavailable
from swarmkeep.store.blob import BlobInfo, BlobStore
from swarmkeep.store.blob_stream import BlobStream
from swarmkeep.store.deadline import Deadline, never
from swarmkeep.store.entry import Entry, EntryType
from swarmkeep.store.folder_reader import FolderReader
from swarmkeep.store.folder_writer import write_folder
from swarmkeep.store.keys import VersionKey, data_prefix, manifests_prefix, parse_data_key, parse_manifest_key
from swarmkeep.store.location import ensure_location_id, read_location_id
from swarmkeep.store.manifest import MAX_MANIFEST_BYTES, Manifest, decode_manifest, encode_manifest
from swarmkeep.store.names import name_to_text
from swarmkeep.store.target import replacing

DEFAULT_LIMIT_S = 600.0
GRACE_S = 6 * 3600.0
"""How old garbage must be before `sweep` removes it; far beyond the longest put and the difference between two
clocks."""


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with one file of a version."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class Swept:
    """What `sweep` has removed."""

    blobs: int
    bytes: int
    unfinished: int
    """Puts that were interrupted inside the storage itself."""


class Repository:
    """The versions in one storage location. Any number of these, on any number of nodes, may work on one location."""

    def __init__(self, blobs: BlobStore, location_id: str) -> None:
        self._blobs = blobs
        self.location_id = location_id
        """The identity that the location got when it was first used (a UUID)."""

    @classmethod
    def open(cls, blobs: BlobStore, create: bool) -> Repository:
        """Opens a location; with `create` one that was never used is made one.

        Raises Unavailable when there is none, which is how a missing mount is noticed; CorruptData, NewerFormat.
        """
        return cls(blobs, ensure_location_id(blobs) if create else read_location_id(blobs))

    def check(self) -> None:
        """Raises Unavailable unless the location that was opened is there now."""
        found = read_location_id(self._blobs)
        if found != self.location_id:
            raise Unavailable(
                f"{self._blobs.description} has become another location ({found}, not {self.location_id}): "
                "is the right one mounted?"
            )

    def put(
        self,
        workload: str,
        version: int,
        source: Path,
        facts: Mapping[str, Any],
        parent: int | None = None,  # noqa: ARG002 - whole files need no parent
        *,
        taken_at: datetime | None = None,
        limit_s: float = DEFAULT_LIMIT_S,
        should_stop: Callable[[], bool] = never,
    ) -> Manifest:
        """Stores the folder `source` as that version, with `facts`, a JSON object that is opaque here.

        `parent` names the version before, as a hint what may be alike. When it returns the version is safe. When it
        raises, there is no such version, except after Unavailable: then storage has stopped answering and the version
        may exist, but only whole. Raises Conflict (that version exists), NotFound (no `source`), StorageFull,
        HostError, InvalidObject, Unavailable, Stopped.
        """
        key = VersionKey(workload, version)
        self.check()
        if any(info.key == key.manifest for info in self._blobs.list(manifests_prefix(workload))):
            raise Conflict(f"{key} exists already")
        attempt = secrets.token_hex(8)
        data_key = key.data(attempt)
        reader = FolderReader(source, Deadline(limit_s, should_stop, f"storing {key}"))
        try:
            data_bytes = self._blobs.put(data_key, reader.chunks())
            manifest = Manifest(
                workload=workload,
                version=version,
                taken_at=taken_at or datetime.now(UTC),
                attempt=attempt,
                data_bytes=data_bytes,
                entries=tuple(reader.entries),
                facts=facts,
            )
            content = encode_manifest(manifest)
            # The mount may have gone while the bytes were written.
            self.check()
        except Exception:
            self._discard(data_key)
            raise
        self._commit(key, content, manifest)
        return manifest

    def get(
        self,
        workload: str,
        version: int,
        target: Path,
        *,
        durable: bool = True,
        limit_s: float = DEFAULT_LIMIT_S,
        should_stop: Callable[[], bool] = never,
    ) -> Manifest:
        """Makes `target` that version's folder, byte for byte; what was there goes once the new one is whole.

        `durable`: it has reached the disk when this returns; a restore that uses it right away need not wait for that.
        Raises NotFound (no such version), MissingData, CorruptData, NewerFormat, StorageFull, HostError, Unavailable,
        Stopped; `target` is then as it was.
        """
        key = VersionKey(workload, version)
        manifest = self.manifest(workload, version)
        deadline = Deadline(limit_s, should_stop, f"fetching {key}")
        stream = BlobStream(self._blobs, key.data(manifest.attempt), manifest.data_bytes)
        with replacing(target, durable=durable) as folder:
            write_folder(folder, manifest.entries, stream.take, deadline, durable=durable)
        return manifest

    def manifest(self, workload: str, version: int) -> Manifest:
        """What is known of a version. Raises NotFound, CorruptData, NewerFormat, Unavailable."""
        key = VersionKey(workload, version)
        try:
            content = self._blobs.get(key.manifest, MAX_MANIFEST_BYTES)
        except NotFound:
            self.check()
            raise NotFound(f"there is no {key} in {self._blobs.description}") from None
        return decode_manifest(content, workload, version)

    def versions(self, workload: str) -> list[int]:
        """The numbers of the versions of a workload, ascending; none for one that is not known."""
        self.check()
        found = map(parse_manifest_key, (info.key for info in self._blobs.list(manifests_prefix(workload))))
        return sorted(key.version for key in found if key)

    def workloads(self) -> list[str]:
        """Every workload that has a version, sorted."""
        self.check()
        found = map(parse_manifest_key, (info.key for info in self._blobs.list(manifests_prefix())))
        return sorted({key.workload for key in found if key})

    def delete(self, workload: str, version: int) -> None:
        """Removes a version, its manifest first; one that is not there is no error.

        Stopped in between, it leaves no version but bytes, which `sweep` removes. Raises Unavailable, HostError.
        """
        key = VersionKey(workload, version)
        self.check()
        try:
            data_key = key.data(self.manifest(workload, version).attempt)
        except NotFound:
            return
        except DataError:
            # Nobody can say which bytes are its own: sweep finds them.
            data_key = None
        self._blobs.delete(key.manifest)
        if data_key:
            self._blobs.delete(data_key)

    def verify(
        self,
        workload: str,
        version: int,
        *,
        full: bool = True,
        limit_s: float = DEFAULT_LIMIT_S,
        should_stop: Callable[[], bool] = never,
    ) -> tuple[Damage, ...]:
        """What is wrong with a version; nothing if it can be restored.

        With `full` every byte is read, else only its manifest and the presence of its bytes are looked at. Raises
        NotFound, CorruptData or NewerFormat when the manifest itself cannot be read, Unavailable, Stopped.
        """
        manifest = self.manifest(workload, version)
        key = VersionKey(workload, version)
        data_key = key.data(manifest.attempt)
        size = next((info.size for info in self._blobs.list(data_prefix(workload)) if info.key == data_key), None)
        if size != manifest.data_bytes:
            problem = "its bytes are gone" if size is None else f"{size} bytes are there of {manifest.data_bytes}"
            return tuple(Damage(name_to_text(entry.path), problem) for entry in manifest.entries if entry.runs)
        if not full:
            return ()
        deadline = Deadline(limit_s, should_stop, f"verifying {key}")
        stream = BlobStream(self._blobs, data_key, manifest.data_bytes)
        return tuple(
            Damage(name_to_text(entry.path), "its bytes do not have their hash")
            for entry in manifest.entries
            if entry.type is EntryType.FILE and _hash_of(entry, stream, deadline) != entry.blake3
        )

    def sweep(self, *, now: float | None = None, grace_s: float = GRACE_S) -> Swept:
        """Removes bytes that no manifest names and that are older than `grace_s` seconds.

        Safe beside writers, since a put ends long before that, and safe to stop anywhere. `now` is in seconds since the
        epoch. Raises Unavailable, HostError.
        """
        self.check()
        oldest = (time.time() if now is None else now) - grace_s
        attempts: dict[VersionKey, list[tuple[str, BlobInfo]]] = {}
        for info in self._blobs.list(data_prefix()):
            parsed = parse_data_key(info.key)
            if parsed:
                attempts.setdefault(parsed[0], []).append((parsed[1], info))
        # After the bytes: a version that was finished in between is then seen as one.
        finished = {parse_manifest_key(info.key) for info in self._blobs.list(manifests_prefix())}
        blobs = count = 0
        for key, tries in attempts.items():
            if key in finished and len(tries) == 1:
                continue
            keep = self._attempts_to_keep(key) if key in finished else frozenset()
            for attempt, info in tries:
                if keep is not None and attempt not in keep and info.modified_at < oldest:
                    self._blobs.delete(info.key)
                    blobs, count = blobs + 1, count + info.size
        return Swept(blobs, count, self._blobs.discard_unfinished(oldest))

    def _attempts_to_keep(self, key: VersionKey) -> frozenset[str] | None:
        """The attempt that the version's manifest names; None when nobody can say."""
        try:
            return frozenset([self.manifest(key.workload, key.version).attempt])
        except NotFound:
            return frozenset()
        except DataError:
            return None

    def _commit(self, key: VersionKey, content: bytes, manifest: Manifest) -> None:
        data_key = key.data(manifest.attempt)
        try:
            self._blobs.put(key.manifest, [content])
        except Unavailable:
            # The manifest may be there, or get there late: its bytes have to stay.
            raise
        except Conflict:
            # Storage that repeats a request on its own finds its own manifest.
            if self.manifest(key.workload, key.version).attempt != manifest.attempt:
                self._discard(data_key)
                raise Conflict(f"{key} exists already") from None
        except Exception:
            self._discard(data_key)
            raise

    def _discard(self, data_key: str) -> None:
        # What storage does not let go of now is garbage for sweep; the caller's error is the one that counts.
        with suppress(SwarmKeepError):
            self._blobs.delete(data_key)


def _hash_of(entry: Entry, stream: BlobStream, deadline: Deadline) -> bytes:
    hasher = blake3()
    for chunk in stream.take(entry.run_bytes):
        deadline.check()
        hasher.update(chunk)
    return hasher.digest()

"""Versions of workloads in a storage location: put a folder, get a folder.

Used by the agent and the operator, in threads. A version's packs are written first, its manifest last and only if none
is there. So a version exists exactly when its manifest does; packs that no manifest names are garbage.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from swarmkeep.errors import (
    Conflict,
    CorruptData,
    DataError,
    InvalidObject,
    MissingData,
    NotFound,
    SwarmKeepError,
    Unavailable,
    WrongKey,
)
from swarmkeep.store.base_version import BaseVersion, open_base
from swarmkeep.store.blob import BlobStore
from swarmkeep.store.blob_paced import PacedBlobStore
from swarmkeep.store.deadline import Deadline, never
from swarmkeep.store.folder_reader import FolderReader
from swarmkeep.store.folder_update import Base, plan_update
from swarmkeep.store.folder_writer import FolderWriter
from swarmkeep.store.keyring import Keyring
from swarmkeep.store.keys import VersionKey, manifests_prefix, packs_prefix, parse_manifest_key, parse_pack_key
from swarmkeep.store.layout import Layout
from swarmkeep.store.location import check_encryption, ensure_mark, join_keys, read_mark
from swarmkeep.store.manifest import MAX_MANIFEST_BYTES, Manifest, decode_manifest, encode_manifest
from swarmkeep.store.names import name_to_text
from swarmkeep.store.prune import Writer
from swarmkeep.store.sweeper import GRACE_S, Swept, delete_version, sweep_location
from swarmkeep.store.target import replacing
from swarmkeep.store.vault import Rewrapped, Vault
from swarmkeep.store.version_reader import VersionReader
from swarmkeep.store.version_writer import VersionWriter
from swarmkeep.store.writers import leave_mark, list_writers, remove_mark

DEFAULT_LIMIT_S = 600.0
MAX_PUT_LIMIT_S = GRACE_S / 2
"""A put may not take longer: garbage collection trusts that whoever has not finished after the grace time is dead."""


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with one file of a version."""

    path: str
    problem: str


class Repository:
    """The versions in one storage location. Any number of these, on any number of nodes, may work on one location."""

    def __init__(self, blobs: BlobStore, location_id: str, keyring: Keyring | None = None) -> None:
        self._blobs = blobs
        self.location_id = location_id
        """The identity that the location got when it was first used (a UUID)."""
        self.keyring = keyring
        """The keys of an encrypted location."""
        self._vault = None if keyring is None else Vault(blobs, keyring)

    @classmethod
    def open(cls, blobs: BlobStore, create: bool, keyring: Keyring | None = None) -> Repository:
        """Opens a location; with `create` one that was never used is made one, encrypted if there is a `keyring`.

        Raises Unavailable when there is none, which is how a missing mount is noticed; NotAsEncrypted, WrongKey,
        CorruptData, NewerFormat.
        """
        mark = ensure_mark(blobs, encrypted=keyring is not None) if create else read_mark(blobs)
        check_encryption(blobs, mark, keyring)
        if keyring is not None:
            join_keys(blobs, keyring)
        return cls(blobs, mark.id, keyring)

    def check(self) -> None:
        """Raises Unavailable unless the location that was opened is there now, NotAsEncrypted unless it may be used."""
        found = read_mark(self._blobs)
        if found.id != self.location_id:
            raise Unavailable(
                f"{self._blobs.description} has become another location ({found.id}, not {self.location_id}): "
                "is the right one mounted?"
            )
        check_encryption(self._blobs, found, self.keyring)

    def paced(self, pace: Callable[[int], None]) -> Repository:
        """The same location; `pace` is called after each read with the number of bytes read, and may wait."""
        other = copy(self)
        other._blobs = PacedBlobStore(self._blobs, pace)
        return other

    def put(
        self,
        workload: str,
        version: int,
        source: Path,
        facts: Mapping[str, Any],
        parent: int | None = None,
        *,
        alone: bool = False,
        taken_at: datetime | None = None,
        limit_s: float = DEFAULT_LIMIT_S,
        should_stop: Callable[[], bool] = never,
    ) -> Manifest:
        """Stores the folder `source` as that version, with `facts`, a JSON object that is opaque here.

        Pages that the version `parent` has (by default the newest before this one) are not stored again; the new
        version needs it no more than any other. `alone` stores every page: what is in storage is not to be relied on.
        When it returns the version is safe. When it raises, there is no such
        version, except after Unavailable: then storage has stopped answering and the version may exist, but only whole.
        Raises Conflict (that version exists), NotFound (no `source`), StorageFull, HostError, InvalidObject,
        Unavailable, Stopped.
        """
        key = VersionKey(workload, version)
        if limit_s > MAX_PUT_LIMIT_S:
            raise InvalidObject(f"storing a version may take {MAX_PUT_LIMIT_S:g} s at most, not {limit_s:g}")
        deadline = Deadline(limit_s, should_stop, f"storing {key}")
        existing = self.versions(workload)
        if version in existing:
            raise Conflict(f"{key} exists already")
        base = parent if parent is not None else max((number for number in existing if number < version), default=None)
        if alone:
            base = None
        return self._write(key, source, facts, base, taken_at, deadline, self._commit)

    def put_again(
        self,
        manifest: Manifest,
        source: Path,
        *,
        limit_s: float = DEFAULT_LIMIT_S,
        should_stop: Callable[[], bool] = never,
    ) -> Manifest:
        """Stores a version once more that is damaged here, or gone: `source` is that version's folder, `manifest` what
        another location says of it.

        It leans on nothing that is here. Nothing that is here is touched before all of the new is, and of that only the
        manifest, in whose place the new one comes. Dying between the two leaves no such version here, and a mark by
        which `is_gone` knows. Raises Conflict (somebody else has done it meanwhile, or builds on it right now), and
        what `put` raises.
        """
        key = VersionKey(manifest.workload, manifest.version)
        self.check()
        before = self._raw_manifest(key)

        def commit(key: VersionKey, content: bytes, writer: VersionWriter, attempt: str) -> None:
            if self._raw_manifest(key) != before:
                self._discard(writer, key.workload, attempt)
                raise Conflict(f"{key} was changed by somebody else meanwhile")
            if any(each.base == key.version for each in self._writers(key.workload)):
                # It may lean on packs that only the damaged one names.
                self._discard(writer, key.workload, attempt)
                raise Conflict(f"a version that builds on {key} is being written: try again when it is done")
            if before is not None:
                self._blobs.delete(key.manifest)
            self._commit(key, content, writer, attempt)

        deadline = Deadline(limit_s, should_stop, f"storing {key} again")
        return self._write(key, source, manifest.facts, None, manifest.taken_at, deadline, commit)

    def is_gone(self, workload: str, version: int) -> bool:
        """Whether a version is not there, and not because somebody stores it again. Raises Unavailable, CorruptData."""
        key = VersionKey(workload, version)
        self.check()
        if self._raw_manifest(key) is not None:
            return False
        if any(writer.version == version for writer in self._writers(workload)):
            return False
        # Whoever stored it again may have finished between the two looks.
        return self._raw_manifest(key) is None

    def _write(
        self,
        key: VersionKey,
        source: Path,
        facts: Mapping[str, Any],
        base: int | None,
        taken_at: datetime | None,
        deadline: Deadline,
        commit: Callable[[VersionKey, bytes, VersionWriter, str], None],
    ) -> Manifest:
        workload, version = key.workload, key.version
        attempt = secrets.token_hex(8)
        try:
            leave_mark(self._blobs, key, attempt, base)
            sealed = self._vault is not None
            built_on = self._base(workload, base)
            writer = VersionWriter(self._blobs, workload, attempt, built_on, sealed=sealed)
        except Exception:
            self._unmark(workload, attempt)
            raise
        try:
            reader = FolderReader(source, writer, deadline)
            entries = reader.read()
            reader.read_again(writer.outdated(), writer.renew)
            packs, table, chunks = writer.finish()
            manifest = Manifest(
                workload=workload,
                version=version,
                taken_at=taken_at or datetime.now(UTC),
                attempt=attempt,
                packs=packs,
                new_bytes=writer.new_bytes,
                facts=facts,
                entries=entries,
                table=table,
                chunks=chunks,
            )
            content = encode_manifest(manifest)
            # What cannot be read back is never committed.
            manifest = decode_manifest(content, workload, version, sealed=sealed)
            # The mount may have gone while the packs were written.
            self.check()
            deadline.check()
            if base is not None and built_on is not None:
                self._check_base(workload, base, built_on.attempt)
            if self._vault is not None:
                content = self._vault.seal(key, attempt, content)
                manifest = replace(manifest, manifest_bytes=len(content))
        except Exception:
            self._discard(writer, workload, attempt)
            raise
        commit(key, content, writer, attempt)
        return manifest

    def get(
        self,
        workload: str,
        version: int,
        target: Path,
        *,
        durable: bool = True,
        base: Base | None = None,
        limit_s: float = DEFAULT_LIMIT_S,
        should_stop: Callable[[], bool] = never,
    ) -> Manifest:
        """Makes `target` that version's folder, byte for byte; what was there goes once the new one is whole.

        With `base`, the folder of another version of the workload on the same file system, only pages that it lacks
        are read. It is used up, whether this goes well or not; remove what is left of it.

        `durable`: it has reached the disk when this returns; a restore that uses it right away need not wait for that.
        Raises NotFound (no such version), MissingData, CorruptData, NewerFormat, WrongKey, StorageFull, HostError,
        Unavailable, Stopped; `target` is then as it was.
        """
        manifest = self.manifest(workload, version)
        deadline = Deadline(limit_s, should_stop, f"fetching {workload} version {version}")
        layout = Layout(manifest.entries)
        update = plan_update(manifest, layout, base.manifest) if base else None
        taken = {path: base.folder / os.fsdecode(path) for path in update.taken} if base and update else {}
        reader = VersionReader(self._blobs, manifest, layout, deadline, update.wanted if update else None)
        with replacing(target, durable=durable) as folder:
            writer = FolderWriter(folder, manifest.entries, layout, deadline)
            try:
                writer.create(taken)
                reader.restore(writer)
                for file, offset, length in update.zeroed if update else ():
                    writer.zero(file, offset, length)
                writer.finish(durable=durable)
            finally:
                writer.close()
        return manifest

    def manifest(self, workload: str, version: int) -> Manifest:
        """What is known of a version.

        Raises NotFound, CorruptData, NewerFormat, WrongKey, MissingData (its data key is gone), Unavailable.
        """
        key = VersionKey(workload, version)
        stored = self._stored_manifest(key)
        if self._vault is None:
            return decode_manifest(stored, workload, version)
        try:
            content = self._vault.open(key, stored)
        except MissingData:
            # Deleted a moment ago, its data key first seen to be gone?
            self._stored_manifest(key)
            raise
        return replace(decode_manifest(content, workload, version, sealed=True), manifest_bytes=len(stored))

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
        """Removes a version and the packs that only it needed; one that is not there is no error.

        Stopped in between, or while somebody writes the workload, it may leave packs, which `sweep` removes. Raises
        Unavailable, HostError.
        """
        key = VersionKey(workload, version)
        self.check()
        delete_version(self, self._blobs, key, time.time())

    def sweep(self, *, now: float | None = None) -> Swept:
        """Removes packs and marks that are of no use to anybody and older than GRACE_S seconds.

        Safe beside writers, since a put ends long before that, and safe to stop anywhere. `now` is in seconds since the
        epoch. Raises Unavailable, HostError.
        """
        self.check()
        return sweep_location(self, self._blobs, time.time() if now is None else now)

    def rewrap(self, *, limit_s: float = DEFAULT_LIMIT_S, should_stop: Callable[[], bool] = never) -> Rewrapped:
        """Brings the data keys of all versions under the current key; nothing to do where nothing is encrypted.

        Packs and manifests stay as they are. Safe beside writers and readers, and safe to stop anywhere: the next call
        goes on. Raises Unavailable, Stopped, StorageFull, HostError.
        """
        self.check()
        if self._vault is None:
            return Rewrapped(0, 0)
        return self._vault.rewrap(Deadline(limit_s, should_stop, f"rewrapping the keys in {self._blobs.description}"))

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

        With `full` every byte is read, else only its manifest and the presence and tables of its packs are looked at.
        Raises NotFound, CorruptData, NewerFormat, MissingData or WrongKey when the manifest itself cannot be read,
        Unavailable, Stopped.
        """
        manifest = self.manifest(workload, version)
        layout = Layout(manifest.entries)
        deadline = Deadline(limit_s, should_stop, f"verifying {workload} version {version}")
        damaged = VersionReader(self._blobs, manifest, layout, deadline).damaged_files(full=full)
        return tuple(Damage(name_to_text(layout.files[file].path), damaged[file]) for file in sorted(damaged))

    def _writers(self, workload: str) -> list[Writer]:
        return list_writers(self._blobs, workload, since=time.time() - GRACE_S)

    def _base(self, workload: str, version: int | None) -> BaseVersion | None:
        if version is None:
            return None
        try:
            manifest = self.manifest(workload, version)
        except (NotFound, DataError, WrongKey):
            # Then every page is stored anew: more bytes, and nothing inherited.
            return None
        sizes = {
            parsed[1]: info.size
            for info in self._blobs.list(packs_prefix(workload))
            if (parsed := parse_pack_key(info.key)) is not None
        }
        return open_base(self._blobs, manifest, sizes)

    def _check_base(self, workload: str, version: int, attempt: str) -> None:
        """Raises Unavailable when the version that was built on was stored again: its old packs may go at any time."""
        try:
            now = self.manifest(workload, version).attempt
        except (NotFound, DataError, WrongKey):
            # While a mark names a base without a manifest, nothing goes.
            return
        if now != attempt:
            raise Unavailable(
                f"{workload} version {version}, which this one builds on, was repaired meanwhile: try again"
            )

    def _stored_manifest(self, key: VersionKey) -> bytes:
        try:
            return self._blobs.get(key.manifest, MAX_MANIFEST_BYTES)
        except NotFound:
            self.check()
            raise NotFound(f"there is no {key} in {self._blobs.description}") from None

    def _raw_manifest(self, key: VersionKey) -> bytes | None:
        """What is stored as the manifest, right or wrong; None when there is nothing."""
        try:
            return self._blobs.get(key.manifest, MAX_MANIFEST_BYTES)
        except NotFound:
            return None
        except CorruptData:
            # Longer than one may be: what it says does not matter.
            return b""

    def _commit(self, key: VersionKey, content: bytes, writer: VersionWriter, attempt: str) -> None:
        try:
            self._blobs.put(key.manifest, [content])
        except Unavailable:
            # The manifest may be there, or get there late: packs and mark have to stay.
            raise
        except Conflict:
            # Storage that repeats a request on its own finds its own manifest.
            if self.manifest(key.workload, key.version).attempt != attempt:
                self._discard(writer, key.workload, attempt)
                raise Conflict(f"{key} exists already") from None
        except Exception:
            self._discard(writer, key.workload, attempt)
            raise
        self._unmark(key.workload, attempt)

    def _discard(self, writer: VersionWriter, workload: str, attempt: str) -> None:
        # What storage does not let go of now is garbage for sweep; the caller's error is the one that counts.
        with suppress(SwarmKeepError):
            writer.discard()
            if self._vault is not None:
                self._vault.discard(workload, attempt)
        self._unmark(workload, attempt)

    def _unmark(self, workload: str, attempt: str) -> None:
        # A mark that stays costs some storage until sweep removes it, and nothing else.
        with suppress(SwarmKeepError):
            remove_mark(self._blobs, workload, attempt)

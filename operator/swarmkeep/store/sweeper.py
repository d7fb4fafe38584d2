"""Removes versions, and what is of no use to any version. prune.py decides; here it is carried out in the right
order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from swarmkeep.errors import DataError, NotFound
from swarmkeep.store.blob import BlobInfo, BlobStore
from swarmkeep.store.keys import (
    VersionKey,
    manifests_prefix,
    pack_key,
    packs_prefix,
    parse_manifest_key,
    parse_pack_key,
    parse_writer_key,
    writers_prefix,
)
from swarmkeep.store.manifest import Manifest
from swarmkeep.store.prune import plan_prune
from swarmkeep.store.writers import list_writers

GRACE_S = 6 * 3600.0
"""Whoever began to write before that is dead, whatever the difference between two nodes' clocks."""


class Manifests(Protocol):
    """What gives manifests: the repository."""

    def manifest(self, workload: str, version: int) -> Manifest:
        """Raises NotFound, CorruptData, NewerFormat, Unavailable."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What `sweep` has removed."""

    blobs: int
    bytes: int
    unfinished: int
    """Puts that were interrupted inside the storage itself."""


def delete_version(manifests: Manifests, blobs: BlobStore, key: VersionKey, now: float) -> None:
    """Removes the manifest of a version, then the packs that only it needed. Raises Unavailable, HostError."""
    try:
        packs = _needed(manifests, key)
    except NotFound:
        return
    blobs.delete(key.manifest)
    for name in sorted(_prunable(manifests, blobs, key.workload, packs or (), now)):
        blobs.delete(pack_key(key.workload, name))


def sweep_location(manifests: Manifests, blobs: BlobStore, now: float) -> Swept:
    """Removes old packs that no version needs, the marks of dead writers, and what interrupted puts left."""
    oldest = now - GRACE_S
    candidates: dict[str, dict[str, BlobInfo]] = {}
    for info in blobs.list(packs_prefix()):
        parsed = parse_pack_key(info.key)
        if parsed and info.modified_at < oldest:
            candidates.setdefault(parsed[0], {})[parsed[1]] = info
    removed: list[BlobInfo] = []
    for workload, packs in sorted(candidates.items()):
        removed += [packs[name] for name in sorted(_prunable(manifests, blobs, workload, packs, now))]
    marks = blobs.list(writers_prefix())
    removed += [info for info in marks if parse_writer_key(info.key) and info.modified_at < oldest]
    for info in removed:
        blobs.delete(info.key)
    return Swept(len(removed), sum(info.size for info in removed), blobs.discard_unfinished(oldest))


def _prunable(
    manifests: Manifests, blobs: BlobStore, workload: str, packs: Iterable[str], now: float
) -> frozenset[str]:
    # Marks before manifests: see prune.py.
    try:
        writers = list_writers(blobs, workload, since=now - GRACE_S)
    except DataError:
        return frozenset()
    needed = {}
    for info in blobs.list(manifests_prefix(workload)):
        key = parse_manifest_key(info.key)
        if key:
            try:
                needed[key.version] = _needed(manifests, key)
            except NotFound:
                continue
    return plan_prune(packs, needed, writers)


def _needed(manifests: Manifests, key: VersionKey) -> frozenset[str] | None:
    try:
        return frozenset(pack.name for pack in manifests.manifest(key.workload, key.version).packs)
    except DataError:
        return None

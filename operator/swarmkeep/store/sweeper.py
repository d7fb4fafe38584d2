"""Removes versions, and what is of no use to any version. prune.py decides; here it is carried out in the right
order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from swarmkeep.errors import DataError, NotFound, WrongKey
from swarmkeep.store.blob import BlobInfo, BlobStore
from swarmkeep.store.keys import (
    VersionKey,
    envelopes_prefix,
    manifests_prefix,
    packs_prefix,
    parse_envelope_key,
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
        """Raises NotFound, CorruptData, NewerFormat, MissingData, WrongKey, Unavailable."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What `sweep` has removed."""

    blobs: int
    bytes: int
    unfinished: int
    """Puts that were interrupted inside the storage itself."""


def delete_version(manifests: Manifests, blobs: BlobStore, key: VersionKey, now: float) -> None:
    """Removes the manifest of a version, then what only it needed. Raises Unavailable, HostError."""
    try:
        manifest = _readable(manifests, key)
    except NotFound:
        return
    blobs.delete(key.manifest)
    if manifest is None:
        # Then it is for sweep to find out what may go.
        return
    # Its data key is of use to no other version, whatever stands in the way of the packs.
    gone = {_envelopes_name(manifest.attempt)}
    gone |= _prunable(manifests, blobs, key.workload, [pack.name for pack in manifest.packs], now)
    for _, name, info in _stored(blobs, key.workload):
        if name in gone:
            blobs.delete(info.key)


def sweep_location(manifests: Manifests, blobs: BlobStore, now: float) -> Swept:
    """Removes old packs and data keys that no version needs, marks of dead writers, and what interrupted puts left."""
    oldest = now - GRACE_S
    candidates: dict[str, dict[str, list[BlobInfo]]] = {}
    for workload, name, info in _stored(blobs):
        if info.modified_at < oldest:
            candidates.setdefault(workload, {}).setdefault(name, []).append(info)
    removed: list[BlobInfo] = []
    for workload, found in sorted(candidates.items()):
        for name in sorted(_prunable(manifests, blobs, workload, found, now)):
            removed += found[name]
    marks = blobs.list(writers_prefix())
    removed += [info for info in marks if parse_writer_key(info.key) and info.modified_at < oldest]
    for info in removed:
        blobs.delete(info.key)
    return Swept(len(removed), sum(info.size for info in removed), blobs.discard_unfinished(oldest))


def _stored(blobs: BlobStore, workload: str | None = None) -> Iterator[tuple[str, str, BlobInfo]]:
    """What versions may need, of one workload or of all: workload, name as in `_needed`, blob."""
    for info in blobs.list(packs_prefix(workload)):
        pack = parse_pack_key(info.key)
        if pack:
            yield *pack, info
    for info in blobs.list(envelopes_prefix(workload)):
        envelope = parse_envelope_key(info.key)
        if envelope:
            yield envelope.workload, _envelopes_name(envelope.attempt), info


def _prunable(
    manifests: Manifests, blobs: BlobStore, workload: str, names: Iterable[str], now: float
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
    return plan_prune(names, needed, writers)


def _needed(manifests: Manifests, key: VersionKey) -> frozenset[str] | None:
    """The names of the packs that a version needs, and the name of its envelopes; None when nobody can say."""
    manifest = _readable(manifests, key)
    if manifest is None:
        return None
    return frozenset({*(pack.name for pack in manifest.packs), _envelopes_name(manifest.attempt)})


def _readable(manifests: Manifests, key: VersionKey) -> Manifest | None:
    """The manifest of a version; None when it is damaged, too new, or this node does not have its key."""
    try:
        return manifests.manifest(key.workload, key.version)
    except (DataError, WrongKey):
        return None


def _envelopes_name(attempt: str) -> str:
    """What all envelopes of an attempt are called together, beside its packs."""
    return f"{attempt}-keys"

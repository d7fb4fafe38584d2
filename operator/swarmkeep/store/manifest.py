"""The manifest of a version: which files it has and where their bytes are. Pure on bytes; docs/formats has the layout.

A version exists when its manifest does. Whoever reads one gets all of it checked: magic, format version, lengths, hash,
every field, and that no path leads out of the folder.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from blake3 import blake3

from swarmkeep.errors import CorruptData, InvalidObject, NewerFormat
from swarmkeep.store.entry import Entry, check_tree, entry_from_json, entry_to_json
from swarmkeep.store.keys import check_attempt

MAX_MANIFEST_BYTES = 256 << 20
"""No manifest is longer; half a million files and a very holey memory image fit."""

_MAGIC = b"SWKEEPMF"
_FORMAT = 1
_HEADER = struct.Struct("<8sHHI32s")
_HASHED_HEADER_BYTES = 16
_FIELDS = frozenset({"workload", "version", "takenAt", "data", "entries", "facts"})


@dataclass(frozen=True, slots=True)
class Manifest:
    """One version of one workload."""

    workload: str
    version: int
    taken_at: datetime
    """The instant that the version shows, UTC."""
    attempt: str
    """Names the blob with the bytes; each try to write a version has a name of its own."""
    data_bytes: int
    """Length of that blob."""
    entries: tuple[Entry, ...]
    """The folder itself first, every folder before what is in it."""
    facts: Mapping[str, Any]
    """What the writer wanted to be kept with the version; opaque here."""

    @property
    def stored_bytes(self) -> int:
        """What the version takes in storage, the manifest not counted."""
        return self.data_bytes

    @property
    def logical_bytes(self) -> int:
        """Sum of the sizes of its files, holes counted."""
        return sum(entry.size for entry in self.entries)


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of a manifest. Raises InvalidObject when the facts are no JSON or it gets too long."""
    check_tree(manifest.entries, manifest.data_bytes)
    fields = {
        "workload": manifest.workload,
        "version": manifest.version,
        "takenAt": manifest.taken_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "data": {"attempt": manifest.attempt, "bytes": manifest.data_bytes},
        "entries": [entry_to_json(entry) for entry in manifest.entries],
        "facts": dict(manifest.facts),
    }
    try:
        text = json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
        body = text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidObject(f"facts of {manifest.workload} version {manifest.version} are no JSON: {error}") from error
    if len(body) > MAX_MANIFEST_BYTES - _HEADER.size:
        raise InvalidObject(
            f"{manifest.workload} version {manifest.version} has too many files: a manifest of {len(body)} bytes"
        )
    head = _HEADER.pack(_MAGIC, _FORMAT, 0, len(body), b"")[:_HASHED_HEADER_BYTES]
    return head + blake3(head + body).digest() + body


def decode_manifest(content: bytes, workload: str, version: int) -> Manifest:
    """Reads the manifest of that version.

    Raises CorruptData when anything about it is wrong, another version's manifest in its place included, and
    NewerFormat.
    """
    what = f"manifest of {workload} version {version}"
    if len(content) < _HEADER.size:
        raise CorruptData(f"{what} has only {len(content)} bytes: it was cut short")
    magic, format_version, flags, body_length, digest = _HEADER.unpack_from(content)
    if magic != _MAGIC:
        raise CorruptData(f"{what} does not begin as one: it was overwritten")
    if format_version > _FORMAT:
        raise NewerFormat(
            f"{what} has format {format_version}; this SwarmKeep reads up to {_FORMAT}: upgrade this node"
        )
    body = content[_HEADER.size :]
    if format_version != _FORMAT or flags or body_length != len(body):
        raise CorruptData(f"{what} has a damaged header")
    if blake3(content[:_HASHED_HEADER_BYTES] + body).digest() != digest:
        raise CorruptData(f"{what} does not have the hash that it says: a byte was changed")
    try:
        manifest = _from_json(json.loads(body, object_pairs_hook=_no_duplicates, parse_constant=_no_constant))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, InvalidObject) as error:
        raise CorruptData(f"{what} has fields that make no sense: {error!r}") from error
    if (manifest.workload, manifest.version) != (workload, version):
        raise CorruptData(f"{what} is that of {manifest.workload} version {manifest.version}")
    return manifest


def _from_json(fields: Any) -> Manifest:
    if not isinstance(fields, dict) or fields.keys() != _FIELDS:
        raise ValueError("unknown or missing fields")
    data, entries, facts = fields["data"], fields["entries"], fields["facts"]
    if data.keys() != {"attempt", "bytes"} or not isinstance(entries, list) or not isinstance(facts, dict):
        raise ValueError("data, entries or facts")
    taken_at = datetime.fromisoformat(fields["takenAt"])
    if taken_at.utcoffset() is None:
        raise ValueError("takenAt has no time zone")
    manifest = Manifest(
        workload=_typed(fields["workload"], str),
        version=_typed(fields["version"], int),
        taken_at=taken_at,
        attempt=check_attempt(data["attempt"]),
        data_bytes=_typed(data["bytes"], int),
        entries=tuple(map(entry_from_json, entries)),
        facts=facts,
    )
    check_tree(manifest.entries, manifest.data_bytes)
    return manifest


def _typed(value: Any, kind: type) -> Any:
    # JSON's true is a Python int.
    if type(value) is not kind:
        raise ValueError(f"{value!r} is no {kind.__name__}")
    return value


def _no_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field appears twice")
    return fields


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")

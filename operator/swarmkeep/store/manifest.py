"""The manifest of a version: which files it has and where their pages are. Pure on bytes; docs/formats has the layout.

A version exists when its manifest does. Whoever reads one gets all of it checked: magic, format version, lengths,
hashes, every field, that no path leads out of the folder, and that every page lies in a pack.
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
from swarmkeep.store.chunks import Chunks, decode_chunks, encode_chunks
from swarmkeep.store.compression import compress, decompress
from swarmkeep.store.entry import Entry, check_tree, entry_from_json, entry_to_json
from swarmkeep.store.keys import check_attempt, check_pack_name
from swarmkeep.store.layout import Layout
from swarmkeep.store.pack import PackInfo, check_packs
from swarmkeep.store.page_table import MAX_PAGES, PageTable, decode_table, encode_table

MAX_MANIFEST_BYTES = 256 << 20
"""No manifest is longer, and no section of one after decompression."""

_HASH_BYTES = 32
_MAGIC = b"SWKEEPMF"
_FORMAT = 1
_SEALED_FORMAT = 2
_SECTIONS = 4
_START = struct.Struct("<8sHH")
_SECTION = struct.Struct("<II32s")
_HEADER_BYTES = _START.size + _SECTIONS * _SECTION.size + _HASH_BYTES
_HEAD_FIELDS = frozenset({"workload", "version", "takenAt", "attempt", "packs", "newBytes", "facts"})
_PACK_FIELDS = frozenset({"name", "bytes", "frames", "pages", "frameTable", "pageHashes"})
_SEALED_PACK_FIELDS = _PACK_FIELDS | {"dataKey"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """One version of one workload."""

    workload: str
    version: int
    taken_at: datetime
    """The instant that the version shows, UTC."""
    attempt: str
    """Names the try that wrote it; its packs carry the name too."""
    packs: tuple[PackInfo, ...]
    """Every pack that it needs, of earlier versions and its own."""
    new_bytes: int
    """Length of all packs that were written with it."""
    facts: Mapping[str, Any]
    """What the writer wanted to be kept with the version; opaque here."""
    entries: tuple[Entry, ...]
    """The folder itself first, every folder before what is in it."""
    table: PageTable
    chunks: Chunks
    manifest_bytes: int = 0
    """Length of the manifest itself in storage."""

    @property
    def stored_bytes(self) -> int:
        """What was written to storage for this version."""
        return self.new_bytes + self.manifest_bytes

    @property
    def logical_bytes(self) -> int:
        """Sum of the sizes of its files, holes counted."""
        return sum(entry.size for entry in self.entries)


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of a manifest. Raises InvalidObject when the facts are no JSON or it gets too long.

    When its packs are sealed their data keys are in it: then the manifest has to be sealed before it is stored.
    """
    what = f"{manifest.workload} version {manifest.version}"
    check_tree(manifest.entries)
    head = {
        "workload": manifest.workload,
        "version": manifest.version,
        "takenAt": manifest.taken_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "attempt": manifest.attempt,
        "packs": [_pack_to_json(pack) for pack in manifest.packs],
        "newBytes": manifest.new_bytes,
        "facts": dict(manifest.facts),
    }
    try:
        raw = [_json_bytes(head), _json_bytes([entry_to_json(entry) for entry in manifest.entries])]
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidObject(f"facts of {what} are no JSON: {error}") from error
    raw += [encode_table(manifest.table), encode_chunks(manifest.chunks)]
    if manifest.table.pages > MAX_PAGES or any(len(section) > MAX_MANIFEST_BYTES // 2 for section in raw):
        raise InvalidObject(f"{what} has too many files or pages for a manifest")
    stored = [compress(section) for section in raw]
    start = _START.pack(_MAGIC, _FORMAT, 0) + b"".join(
        _SECTION.pack(len(packed), len(section), blake3(packed).digest())
        for packed, section in zip(stored, raw, strict=True)
    )
    return b"".join([start, blake3(start).digest(), *stored])


def decode_manifest(content: bytes, workload: str, version: int, *, sealed: bool = False) -> Manifest:
    """Reads the manifest of that version. With `sealed` every pack in it has to be sealed, without it none may be.

    Raises CorruptData when anything about it is wrong, another version's manifest in its place included; NewerFormat.
    """
    what = f"manifest of {workload} version {version}"
    head, tree, table, chunks = _sections(content, what)
    try:
        manifest = _assemble(_read_json(head), _read_json(tree), table, chunks, len(content), sealed)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, InvalidObject) as error:
        raise CorruptData(f"{what} has fields that make no sense: {error!r}") from error
    if (manifest.workload, manifest.version) != (workload, version):
        raise CorruptData(f"{what} is that of {manifest.workload} version {manifest.version}")
    return manifest


def _sections(content: bytes, what: str) -> list[bytes]:
    if len(content) < _HEADER_BYTES:
        raise CorruptData(f"{what} has only {len(content)} bytes: it was cut short")
    magic, format_version, flags = _START.unpack_from(content)
    if magic != _MAGIC:
        raise CorruptData(f"{what} does not begin as one: it was overwritten")
    if format_version == _SEALED_FORMAT:
        raise CorruptData(f"{what} is encrypted, and this location is not: somebody has put it there")
    if format_version > _FORMAT:
        raise NewerFormat(
            f"{what} has format {format_version}; this SwarmKeep reads up to {_FORMAT}: upgrade this node"
        )
    start = content[: _HEADER_BYTES - _HASH_BYTES]
    if format_version != _FORMAT or flags or blake3(start).digest() != content[len(start) : _HEADER_BYTES]:
        raise CorruptData(f"{what} has a damaged header")
    found = []
    position = _HEADER_BYTES
    for number in range(_SECTIONS):
        stored_length, length, digest = _SECTION.unpack_from(content, _START.size + number * _SECTION.size)
        stored = content[position : position + stored_length]
        position += stored_length
        if len(stored) != stored_length or blake3(stored).digest() != digest:
            raise CorruptData(f"{what} was cut short, or a byte of it was changed")
        if length > MAX_MANIFEST_BYTES:
            raise CorruptData(f"{what} has a section of {length} bytes: more than one may have")
        found.append(decompress(stored, length, what))
    if position != len(content):
        raise CorruptData(f"{what} has {len(content) - position} bytes too many")
    return found


def _assemble(head: Any, tree: Any, table: bytes, chunks: bytes, manifest_bytes: int, sealed: bool) -> Manifest:
    if not isinstance(head, dict) or head.keys() != _HEAD_FIELDS or not isinstance(tree, list):
        raise ValueError("unknown or missing fields")
    if not isinstance(head["packs"], list) or not isinstance(head["facts"], dict):
        raise ValueError("packs or facts")
    taken_at = datetime.fromisoformat(head["takenAt"])
    if taken_at.utcoffset() is None:
        raise ValueError("takenAt has no time zone")
    entries = tuple(map(entry_from_json, tree))
    check_tree(entries)
    packs = tuple(_pack_from_json(pack, sealed) for pack in head["packs"])
    check_packs(packs)
    pages = Layout(entries).pages
    return Manifest(
        workload=_typed(head["workload"], str),
        version=_typed(head["version"], int),
        taken_at=taken_at,
        attempt=check_attempt(head["attempt"]),
        packs=packs,
        new_bytes=_typed(head["newBytes"], int),
        facts=head["facts"],
        entries=entries,
        table=decode_table(table, pages, [pack.pages for pack in packs]),
        chunks=decode_chunks(chunks, pages),
        manifest_bytes=manifest_bytes,
    )


def _pack_to_json(pack: PackInfo) -> dict[str, Any]:
    data_key = {} if pack.data_key is None else {"dataKey": pack.data_key.hex()}
    return data_key | {
        "name": pack.name,
        "bytes": pack.size,
        "frames": pack.frames,
        "pages": pack.pages,
        "frameTable": pack.frame_table_hash.hex(),
        "pageHashes": pack.page_hashes_hash.hex(),
    }


def _pack_from_json(raw: Any, sealed: bool) -> PackInfo:
    if raw.keys() != (_SEALED_PACK_FIELDS if sealed else _PACK_FIELDS):
        raise ValueError(f"a pack has fields {sorted(raw)}")
    return PackInfo(
        name=check_pack_name(raw["name"]),
        size=_typed(raw["bytes"], int),
        frames=_typed(raw["frames"], int),
        pages=_typed(raw["pages"], int),
        frame_table_hash=bytes.fromhex(raw["frameTable"]),
        page_hashes_hash=bytes.fromhex(raw["pageHashes"]),
        data_key=bytes.fromhex(raw["dataKey"]) if sealed else None,
    )


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True).encode()


def _read_json(content: bytes) -> Any:
    return json.loads(content, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)


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

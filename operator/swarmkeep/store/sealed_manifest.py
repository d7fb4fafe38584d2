"""The manifest of a version in an encrypted location: a header, and a whole manifest sealed behind it. Pure on bytes.

docs/formats has the layout. The header says which attempt wrote it, and by that which data key opens the rest.
"""

from __future__ import annotations

import struct

from swarmkeep.errors import CorruptData, NewerFormat
from swarmkeep.store.keys import VersionKey
from swarmkeep.store.sealing import TAG_BYTES, Part, Sealer

_MAGIC = b"SWKEEPMF"
_FORMAT = 2
_HEADER = struct.Struct("<8sHH8sQ")


def seal_manifest(content: bytes, key: VersionKey, attempt: str, data_key: bytes) -> bytes:
    """The bytes to store of the encoded manifest `content`. The data key must be new."""
    header = _HEADER.pack(_MAGIC, _FORMAT, 0, bytes.fromhex(attempt), len(content) + TAG_BYTES)
    return header + Sealer(data_key, header, key.manifest).seal(Part.MANIFEST, content)


def sealed_attempt(stored: bytes, key: VersionKey) -> str:
    """Which attempt wrote the manifest. Raises CorruptData, also when it is one that is not sealed; NewerFormat."""
    what = f"manifest of {key}"
    if len(stored) < _HEADER.size:
        raise CorruptData(f"{what} has only {len(stored)} bytes: it was cut short")
    magic, format_version, flags, attempt, length = _HEADER.unpack_from(stored)
    if magic != _MAGIC:
        raise CorruptData(f"{what} does not begin as one: it was overwritten")
    if format_version > _FORMAT:
        raise NewerFormat(
            f"{what} has format {format_version}; this SwarmKeep reads up to {_FORMAT}: upgrade this node"
        )
    if format_version < _FORMAT:
        raise CorruptData(f"{what} is not encrypted, and this location is: somebody has put it there")
    if flags:
        raise CorruptData(f"{what} has a damaged header")
    if length != len(stored) - _HEADER.size:
        raise CorruptData(f"{what} has {len(stored)} bytes where it says {_HEADER.size + length}: it was cut short")
    return str(attempt.hex())


def open_manifest(stored: bytes, key: VersionKey, data_key: bytes) -> bytes:
    """The encoded manifest in what `sealed_attempt` has passed. Raises CorruptData."""
    header, sealed = stored[: _HEADER.size], memoryview(stored)[_HEADER.size :]
    return Sealer(data_key, header, key.manifest).open(Part.MANIFEST, sealed, f"manifest of {key}")

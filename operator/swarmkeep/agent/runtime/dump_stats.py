"""CRIU's own figures of a dump, from the file `stats-dump` in its work folder. Pure on bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from swarmkeep.errors import CorruptData

SERVICE_MAGIC = 0x55105940
STATS_MAGIC = 0x57093306
"""Source: criu/include/magic.h; the file is both, a length, and one stats_entry of images/stats.proto."""

_DUMP = 1
_FIELDS = {
    1: "freezing_s",
    2: "frozen_s",
    3: "memory_dump_s",
    4: "memory_write_s",
    5: "pages_scanned",
    7: "pages_written",
}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class DumpStats:
    """Times in seconds, amounts in pages."""

    freezing_s: float = 0.0
    """Until all threads stood still."""
    frozen_s: float = 0.0
    """From there until they were let go; freezing included."""
    memory_dump_s: float = 0.0
    memory_write_s: float = 0.0
    pages_scanned: int = 0
    pages_written: int = 0


def parse_dump_stats(data: bytes) -> DumpStats:
    """Reads `stats-dump`. Raises CorruptData."""
    if len(data) < 12:
        raise CorruptData(f"stats-dump has {len(data)} bytes, too few for its head")
    service, stats, length = struct.unpack_from("<III", data)
    if (service, stats) != (SERVICE_MAGIC, STATS_MAGIC):
        raise CorruptData(f"stats-dump begins with {service:#x} {stats:#x}, not with CRIU's magic numbers")
    if length > len(data) - 12:
        raise CorruptData(f"stats-dump promises {length} bytes and has {len(data) - 12}")
    values: dict[str, float | int] = {}
    for number, value in _fields(data[12 : 12 + length]):
        if number != _DUMP or not isinstance(value, bytes):
            continue
        for inner, amount in _fields(value):
            name = _FIELDS.get(inner)
            if name is not None and isinstance(amount, int):
                values[name] = amount / 1e6 if name.endswith("_s") else amount
    return DumpStats(**values)  # type: ignore[arg-type]


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Fields of a protobuf message: number and value. Raises CorruptData."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire == _BYTES:
            length, position = _varint(data, position)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise CorruptData(f"stats-dump has a field of unknown wire type {wire}")
        if position + length > len(data):
            raise CorruptData("stats-dump ends in the middle of a field")
        yield number, data[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise CorruptData("stats-dump ends in the middle of a number")

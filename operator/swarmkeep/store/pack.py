"""Packs: blobs full of pages, compressed in frames of up to 1 MiB, and sealed in an encrypted location. Pure on bytes;
docs/formats has the layout.

A pack ends with two tables: where its frames are and what hash each has, and the hash of each of its pages, by which
later versions find out that they need not store a page again. The manifest has the hashes of both tables.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from swarmkeep.errors import CorruptData, NewerFormat
from swarmkeep.store.compression import compress, decompress
from swarmkeep.store.page_table import PAGE_BYTES
from swarmkeep.store.sealing import KEY_BYTES, TAG_BYTES, Buffer, Part, Sealer

FRAME_PAGES = 256
MAX_FRAME_BYTES = (FRAME_PAGES * PAGE_BYTES) + (64 << 10)
"""What a frame may take in storage: bytes that do not compress grow by a little."""
PAGE_HASH_BYTES = 16
FULL_PACK_BYTES = 32 << 20
"""A pack that has reached this is closed."""
MAX_PACK_FRAMES = 1 << 16

_MAGIC = b"SWKEEPPK"
_FORMAT = 1
_SEALED_FORMAT = 2
_HEADER = struct.Struct("<8sHHI")
_FRAME = np.dtype([("stored", "<u4"), ("pages", "<u4"), ("hash", "V32")])

Words = npt.NDArray[np.uint64]
"""Pages as numbers: a row of 512 for each page."""


@dataclass(frozen=True, slots=True)
class PackInfo:
    """What a manifest says of a pack that it refers to."""

    name: str
    """`ATTEMPT-NUMBER`: the last part of its key."""
    size: int
    """Length of the blob in bytes."""
    frames: int
    pages: int
    frame_table_hash: bytes
    page_hashes_hash: bytes
    data_key: bytes | None = field(default=None, repr=False)
    """What it is sealed with; None in a location that is not encrypted."""

    @property
    def frame_table_range(self) -> tuple[int, int]:
        """Offset and length of the frame table in the blob."""
        length = self.frames * _FRAME.itemsize + self._tag_bytes
        return self.page_hashes_range[0] - length, length

    @property
    def page_hashes_range(self) -> tuple[int, int]:
        """Offset and length of the page hashes, the end of the blob."""
        length = self.pages * PAGE_HASH_BYTES + self._tag_bytes
        return self.size - length, length

    @property
    def _tag_bytes(self) -> int:
        return 0 if self.data_key is None else TAG_BYTES


class PackBuilder:
    """Takes pages and makes the bytes of one pack. Holds them in memory: little more than FULL_PACK_BYTES."""

    def __init__(self, name: str, data_key: bytes | None = None) -> None:
        """With a `data_key`, which no other pack may have, all of it is sealed."""
        self._name = name
        self._data_key = data_key
        self._sealer = None if data_key is None else _sealer(name, data_key)
        self._parts: list[Buffer] = [_header(data_key)]
        self._stored = _HEADER.size
        self._frames: list[tuple[int, int, bytes]] = []
        self._frame = np.empty((FRAME_PAGES, PAGE_BYTES // 8), np.uint64)
        self._in_frame = 0
        self._hashes: list[bytes] = []
        self.pages = 0
        """How many pages it has by now."""

    @property
    def is_full(self) -> bool:
        """No more pages should go into it."""
        return self._stored >= FULL_PACK_BYTES

    def add(self, pages: Words, hashes: Sequence[bytes]) -> None:
        """Takes the next pages and the hash of each."""
        self._hashes += hashes
        self.pages += len(pages)
        while len(pages):
            count = min(len(pages), FRAME_PAGES - self._in_frame)
            self._frame[self._in_frame : self._in_frame + count] = pages[:count]
            self._in_frame += count
            pages = pages[count:]
            if self._in_frame == FRAME_PAGES:
                self._close_frame()

    def finish(self) -> tuple[PackInfo, list[Buffer]]:
        """The finished pack: what the manifest has to say of it, and its bytes in parts."""
        if self._in_frame:
            self._close_frame()
        frame_table = self._seal(Part.FRAME_TABLE, np.array(self._frames, _FRAME).tobytes())
        page_hashes = self._seal(Part.PAGE_HASHES, b"".join(self._hashes))
        info = PackInfo(
            name=self._name,
            size=self._stored + len(frame_table) + len(page_hashes),
            frames=len(self._frames),
            pages=self.pages,
            frame_table_hash=blake3(frame_table).digest(),
            page_hashes_hash=blake3(page_hashes).digest(),
            data_key=self._data_key,
        )
        return info, [*self._parts, frame_table, page_hashes]

    def _close_frame(self) -> None:
        stored = self._seal(Part.FRAME, compress(self._frame[: self._in_frame].data), len(self._frames))
        self._parts.append(stored)
        self._stored += len(stored)
        self._frames.append((len(stored), self._in_frame, blake3(stored).digest()))
        self._in_frame = 0

    def _seal(self, part: Part, content: bytes, number: int = 0) -> bytes:
        return content if self._sealer is None else self._sealer.seal(part, content, number)


@dataclass(frozen=True, slots=True)
class FrameTable:
    """Where the frames of a pack are."""

    offsets: npt.NDArray[np.int64]
    """Of each frame in the blob, and the end of the last."""
    begins: npt.NDArray[np.int64]
    """The first page of each frame, and the number of pages of the pack."""
    hashes: tuple[bytes, ...]

    def frames_of(self, pages: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The frame of each page."""
        return np.searchsorted(self.begins, pages, "right") - 1


def read_frame_table(info: PackInfo, content: bytes) -> FrameTable:
    """Reads and checks the frame table of a pack. Raises CorruptData."""
    if blake3(content).digest() != info.frame_table_hash:
        raise CorruptData(f"pack {info.name}: its frame table was changed")
    rows: Any = np.frombuffer(_opened(info, Part.FRAME_TABLE, content, "its frame table"), _FRAME)
    stored, pages = rows["stored"].astype(np.int64), rows["pages"].astype(np.int64)
    offsets = np.concatenate(([_HEADER.size], _HEADER.size + np.cumsum(stored)))
    begins = np.concatenate(([0], np.cumsum(pages)))
    if (
        len(rows) != info.frames
        or offsets[-1] != info.frame_table_range[0]
        or begins[-1] != info.pages
        or np.any((pages < 1) | (pages > FRAME_PAGES) | (stored < 1) | (stored > MAX_FRAME_BYTES))
    ):
        raise CorruptData(f"pack {info.name}: its frame table makes no sense")
    return FrameTable(offsets, begins, tuple(row.tobytes() for row in rows["hash"]))


def read_page_hashes(info: PackInfo, content: bytes) -> npt.NDArray[np.uint64]:
    """Reads and checks the page hashes of a pack: two numbers for each page. Raises CorruptData."""
    if blake3(content).digest() != info.page_hashes_hash:
        raise CorruptData(f"pack {info.name}: its page hashes were changed")
    return np.frombuffer(_opened(info, Part.PAGE_HASHES, content, "its page hashes"), "<u8").reshape(-1, 2)


def open_frame(info: PackInfo, table: FrameTable, frame: int, stored: Buffer) -> bytes:
    """The pages of a frame out of its stored bytes. Raises CorruptData."""
    if blake3(stored).digest() != table.hashes[frame]:
        raise CorruptData(f"pack {info.name}: frame {frame} was changed")
    pages = int(table.begins[frame + 1] - table.begins[frame])
    stored = _opened(info, Part.FRAME, stored, f"frame {frame}", frame)
    return decompress(stored, pages * PAGE_BYTES, f"pack {info.name}: frame {frame}")


def check_header(info: PackInfo, content: bytes) -> None:
    """Raises CorruptData or NewerFormat unless a pack begins like that."""
    if content == _header(info.data_key):
        return
    magic, format_version, _, _ = _HEADER.unpack(content)
    if magic == _MAGIC and format_version > _SEALED_FORMAT:
        raise NewerFormat(f"pack {info.name} has format {format_version}; this SwarmKeep reads up to {_SEALED_FORMAT}")
    raise CorruptData(f"pack {info.name} does not begin as one of this location: it was overwritten")


HEADER_BYTES = _HEADER.size


def check_packs(packs: Sequence[PackInfo]) -> None:
    """Raises CorruptData unless these can be the packs of a manifest."""
    if len({pack.name for pack in packs}) != len(packs):
        raise CorruptData("a manifest lists a pack twice")
    for pack in packs:
        if not (
            1 <= pack.frames <= MAX_PACK_FRAMES
            and pack.frames <= pack.pages <= pack.frames * FRAME_PAGES
            and (pack.data_key is None or len(pack.data_key) == KEY_BYTES)
            and pack.frame_table_range[0] > _HEADER.size
            and len(pack.frame_table_hash) == len(pack.page_hashes_hash) == 32
        ):
            raise CorruptData(f"a manifest lists pack {pack.name}, which cannot be one")


def _header(data_key: bytes | None) -> bytes:
    return _HEADER.pack(_MAGIC, _FORMAT if data_key is None else _SEALED_FORMAT, 0, 0)


def _sealer(name: str, data_key: bytes) -> Sealer:
    return Sealer(data_key, _header(data_key), name)


def _opened(info: PackInfo, part: Part, stored: Buffer, what: str, number: int = 0) -> Buffer:
    if info.data_key is None:
        return stored
    return _sealer(info.name, info.data_key).open(part, stored, f"pack {info.name}: {what}", number)

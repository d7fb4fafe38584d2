"""The chunks of a version: stretches of its stream with one hash each. Pure.

A chunk that a new version has as well is found by its hash alone, wherever it lies, and then its pages need not be
hashed one by one. So that pages that have moved are cut at the same places again, a writer follows the chunks of its
base.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from swarmkeep.errors import CorruptData
from swarmkeep.store.page_table import PAGE_BYTES, Integers

MAX_CHUNK_PAGES = 256
MAX_CHUNK_BYTES = MAX_CHUNK_PAGES * PAGE_BYTES
CHUNK_HASH_BYTES = 32

_SMALL_CHUNK_PAGES = MAX_CHUNK_PAGES // 2
_ROW = np.dtype([("start", "<u8"), ("pages", "<u4"), ("hash", f"V{CHUNK_HASH_BYTES}")])


@dataclass(frozen=True, slots=True)
class Chunk:
    """One stretch of the stream."""

    start: int
    """In the stream, in pages."""
    pages: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Chunks:
    """The chunks in the order of the stream; they do not overlap, and zeros may lie between them."""

    starts: tuple[int, ...]
    """In the stream, in pages."""
    pages: tuple[int, ...]
    """From 1 to MAX_CHUNK_PAGES."""
    hashes: tuple[bytes, ...]

    def next_cut(self, position: int) -> int:
        """How many pages from `position` on one should look at together; from 1 to MAX_CHUNK_PAGES.

        Up to the end of the chunk there, or to the beginning of the next one. Small chunks are looked at together with
        the next, so that they do not pile up from version to version.
        """
        following = bisect_right(self.starts, position)
        cut = position
        if following and position < self.starts[following - 1] + self.pages[following - 1]:
            cut = self.starts[following - 1] + self.pages[following - 1]
        elif following < len(self.starts):
            cut = self.starts[following]
        else:
            return MAX_CHUNK_PAGES
        while (
            cut - position < _SMALL_CHUNK_PAGES
            and following < len(self.starts)
            and self.starts[following] == cut
            and cut + self.pages[following] - position <= MAX_CHUNK_PAGES
        ):
            cut += self.pages[following]
            following += 1
        return min(cut - position, MAX_CHUNK_PAGES)

    def touching(self, starts: Integers, ends: Integers) -> list[Chunk]:
        """The chunks that have pages in any of these parts of the stream, in its order."""
        mine = np.array(self.starts, np.int64)
        edges = np.zeros(len(mine) + 1, np.int64)
        np.add.at(edges, np.searchsorted(mine + self.pages, starts, "right"), 1)
        np.add.at(edges, np.searchsorted(mine, ends, "left"), -1)
        return [
            Chunk(self.starts[number], self.pages[number], self.hashes[number])
            for number in np.flatnonzero(np.cumsum(edges[:-1]) > 0).tolist()
        ]


class ChunksBuilder:
    """Takes chunks in the order of the stream."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._pages: list[int] = []
        self._hashes: list[bytes] = []

    def append(self, start: int, pages: int, digest: bytes) -> None:
        """The next chunk."""
        self._starts.append(start)
        self._pages.append(pages)
        self._hashes.append(digest)

    def build(self) -> Chunks:
        """All chunks."""
        return Chunks(tuple(self._starts), tuple(self._pages), tuple(self._hashes))


def encode_chunks(chunks: Chunks) -> bytes:
    """The bytes of the chunks, before compression; docs/formats has the layout."""
    rows = np.zeros(len(chunks.starts), _ROW)
    if len(rows):
        rows["start"] = chunks.starts
        rows["pages"] = chunks.pages
        rows["hash"] = np.frombuffer(b"".join(chunks.hashes), f"V{CHUNK_HASH_BYTES}")
    return rows.tobytes()


def decode_chunks(content: bytes, pages: int) -> Chunks:
    """Reads the chunks of a stream of `pages` pages. Raises CorruptData."""
    if len(content) % _ROW.itemsize:
        raise CorruptData("a list of chunks was cut short")
    rows = np.frombuffer(content, _ROW)
    starts, counts = rows["start"], rows["pages"].astype(np.uint64)
    if len(rows):
        # Each number is bounded before they are added, so that no sum wraps around.
        bounded = counts.min() >= 1 and counts.max() <= MAX_CHUNK_PAGES and starts.max() < pages
        if not bounded or np.any(starts[1:] < (starts + counts)[:-1]) or int(starts[-1] + counts[-1]) > pages:
            raise CorruptData("a list of chunks has one that cannot be")
    return Chunks(tuple(starts.tolist()), tuple(counts.tolist()), tuple(row.tobytes() for row in rows["hash"]))

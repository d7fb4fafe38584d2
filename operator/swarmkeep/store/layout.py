"""Where the files of a version lie in its stream of pages. Pure, on numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swarmkeep.errors import CorruptData
from swarmkeep.store.entry import Entry, EntryType
from swarmkeep.store.page_table import MAX_PAGES, PAGE_BYTES, Integers, PageTable, Refs

CHUNK_PAGES = 256
"""A file is compared with its base in chunks of so many pages (1 MiB), counted from its beginning."""
CHUNK_BYTES = CHUNK_PAGES * PAGE_BYTES


def whole_pages(size: int) -> int:
    """How many pages a file of `size` bytes fills."""
    return -(-size // PAGE_BYTES)


@dataclass(frozen=True, slots=True)
class Pieces:
    """Parts of the stream, each inside one run and one file; all columns are of the same length."""

    starts: Integers
    """Where it begins in the stream, in pages."""
    counts: Integers
    refs: Refs
    files: Integers
    """Which of the layout's files it is of."""


class Layout:
    """The files of a version that have bytes, in the order of the stream."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        """Raises CorruptData when the files are larger than any version is."""
        self.files = tuple(entry for entry in entries if entry.type is EntryType.FILE and entry.size)
        pages = [whole_pages(entry.size) for entry in self.files]
        if sum(pages) > MAX_PAGES:
            raise CorruptData(f"files of {sum(pages)} pages are more than a version can have")
        self.begins: Integers = np.cumsum([0, *pages], dtype=np.int64)
        """The first page of each file in the stream, and the end of the last."""
        self._chunk_begins: Integers = np.cumsum([0, *(-(-count // CHUNK_PAGES) for count in pages)], dtype=np.int64)

    @property
    def pages(self) -> int:
        """How many pages the stream has."""
        return int(self.begins[-1])

    def pieces(self, table: PageTable) -> Pieces:
        """Whatever is not zeros, cut where files end."""
        stored = np.flatnonzero(table.refs)
        lows = table.starts[stored]
        which, files, starts, ends = split_ranges(lows, lows + table.counts[stored], self.begins)
        refs = table.refs[stored][which] + (starts - lows[which]).astype(np.uint64)
        return Pieces(starts, ends - starts, refs, files)

    def chunk_number(self, file: int, chunk: int) -> int:
        """The number of a file's chunk among all chunks of the version."""
        return int(self._chunk_begins[file]) + chunk

    def stored_chunks(self, table: PageTable, expected: int) -> Integers:
        """The numbers of the chunks that are not all zeros, ascending.

        Raises CorruptData unless there are `expected`.
        """
        pieces = self.pieces(table)
        within = pieces.starts - self.begins[pieces.files]
        bases = self._chunk_begins[pieces.files]
        firsts = bases + within // CHUNK_PAGES
        lasts = bases + (within + pieces.counts - 1) // CHUNK_PAGES
        # Pieces are in the order of the stream, so two can only share the chunk where one ends and the next begins.
        shared = np.flatnonzero(firsts[1:] == lasts[:-1]) + 1
        firsts[shared] += 1
        lengths = lasts - firsts + 1
        if int(lengths.sum()) != expected:
            raise CorruptData(f"{expected} chunks have a hash where {int(lengths.sum())} have bytes")
        return np.repeat(firsts - (np.cumsum(lengths) - lengths), lengths) + np.arange(expected, dtype=np.int64)


def split_ranges(lows: Integers, highs: Integers, bounds: Integers) -> tuple[Integers, Integers, Integers, Integers]:
    """Cuts ranges where cells end; cell i goes from bounds[i] up to bounds[i + 1], and the cells cover all ranges.

    Returns for each part: the number of its range, of its cell, where it begins, where it ends.
    """
    first = np.searchsorted(bounds, lows, "right") - 1
    counts = np.searchsorted(bounds, highs - 1, "right") - first
    which = np.repeat(np.arange(len(lows), dtype=np.int64), counts)
    cells = np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(len(which), dtype=np.int64)
    return which, cells, np.maximum(lows[which], bounds[cells]), np.minimum(highs[which], bounds[cells + 1])

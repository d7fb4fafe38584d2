"""Where the files of a version lie in its stream of pages. Pure, on numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swarmkeep.errors import CorruptData
from swarmkeep.store.entry import Entry, EntryType
from swarmkeep.store.page_table import MAX_PAGES, PAGE_BYTES, Integers, PageTable, Refs


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

    @property
    def pages(self) -> int:
        """How many pages the stream has."""
        return int(self.begins[-1])

    def pieces(self, table: PageTable, wanted: npt.NDArray[np.bool_] | None = None) -> Pieces:
        """Whatever is not zeros, cut where files end; only the pages that are `wanted`, where that is given."""
        stored = np.flatnonzero(table.refs)
        lows = table.starts[stored]
        which, files, starts, ends = split_ranges(lows, lows + table.counts[stored], self.begins)
        refs = table.refs[stored][which] + (starts - lows[which]).astype(np.uint64)
        pieces = Pieces(starts, ends - starts, refs, files)
        return pieces if wanted is None else _only(pieces, wanted)


def _only(pieces: Pieces, wanted: npt.NDArray[np.bool_]) -> Pieces:
    """The wanted pages of all pieces, put together again where they lie side by side."""
    which = np.repeat(np.arange(len(pieces.counts), dtype=np.int64), pieces.counts)
    within = np.arange(len(which), dtype=np.int64) - np.repeat(np.cumsum(pieces.counts) - pieces.counts, pieces.counts)
    pages = pieces.starts[which] + within
    chosen = wanted[pages]
    which, within, pages = which[chosen], within[chosen], pages[chosen]
    begins = np.flatnonzero(np.diff(which, prepend=-1).astype(bool) | (np.diff(pages, prepend=-2) != 1))
    counts = np.diff(begins, append=len(pages))
    first = which[begins]
    return Pieces(pages[begins], counts, pieces.refs[first] + within[begins].astype(np.uint64), pieces.files[first])


def split_ranges(lows: Integers, highs: Integers, bounds: Integers) -> tuple[Integers, Integers, Integers, Integers]:
    """Cuts ranges where cells end; cell i goes from bounds[i] up to bounds[i + 1], and the cells cover all ranges.

    Returns for each part: the number of its range, of its cell, where it begins, where it ends.
    """
    first = np.searchsorted(bounds, lows, "right") - 1
    counts = np.searchsorted(bounds, highs - 1, "right") - first
    which = np.repeat(np.arange(len(lows), dtype=np.int64), counts)
    cells = np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(len(which), dtype=np.int64)
    return which, cells, np.maximum(lows[which], bounds[cells]), np.minimum(highs[which], bounds[cells + 1])

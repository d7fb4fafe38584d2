"""Which stored page each page of a version is, run-length coded. Pure, on numpy arrays.

A version's files, one after the other and each filled up to whole pages, make its stream of pages. A reference says
where a page of the stream lies: 0 for a page of zeros, else `(pack + 1) << 32 | page in that pack`, with packs counted
as the manifest lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swarmkeep.errors import CorruptData

Refs = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]

PAGE_BYTES = 4096
MAX_PAGES = 1 << 38
"""No version has more pages (1 PiB): sums of counts stay far from overflowing."""

_PACK_SHIFT = np.uint64(32)
_PAGE_MASK = np.uint64(0xFFFFFFFF)
_RUN_BYTES = 20
_COLUMNS = (("<u8", 8), ("<u4", 4), ("<u8", 8))


def make_refs(pack: int, first: int, count: int) -> Refs:
    """References to `count` pages of a pack from `first` on."""
    start = (pack + 1) << 32 | first
    return np.arange(start, start + count, dtype=np.uint64)


@dataclass(frozen=True, slots=True, eq=False)
class PageTable:
    """Runs of pages: of zeros, or lying one after the other in one pack."""

    starts: Integers
    """Where each run begins in the stream, in pages."""
    counts: Integers
    """How many pages it has."""
    refs: Refs
    """The reference of its first page."""

    @property
    def pages(self) -> int:
        """How many pages the stream has."""
        return int(self.starts[-1] + self.counts[-1]) if len(self.starts) else 0

    @property
    def packs(self) -> Integers:
        """The pack of each run; -1 for zeros."""
        return (self.refs >> _PACK_SHIFT).astype(np.int64) - 1

    @property
    def firsts(self) -> Integers:
        """The first page of each run in its pack."""
        return (self.refs & _PAGE_MASK).astype(np.int64)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PageTable):
            return NotImplemented
        return np.array_equal(self.counts, other.counts) and np.array_equal(self.refs, other.refs)

    def __hash__(self) -> int:
        return hash((self.pages, len(self.refs)))

    def cut(self, start: int, count: int) -> tuple[Refs, Integers]:
        """The runs of `count` pages of the stream from `start` on: each one's first reference and its length."""
        first = int(np.searchsorted(self.starts, start, "right")) - 1
        last = int(np.searchsorted(self.starts, start + count, "left"))
        starts, refs = self.starts[first:last], self.refs[first:last]
        lows = np.maximum(starts, start)
        highs = np.minimum(starts + self.counts[first:last], start + count)
        return np.where(refs == 0, refs, refs + (lows - starts).astype(np.uint64)), highs - lows

    def expand(self, start: int, count: int) -> Refs:
        """The references of `count` pages of the stream from `start` on."""
        begins, lengths = self.cut(start, count)
        within = np.arange(count, dtype=np.int64) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        found = np.repeat(begins, lengths)
        return np.where(found == 0, found, found + within.astype(np.uint64))

    def live_pages(self, packs: int) -> Integers:
        """How many pages of each of so many packs are in the stream; one that is there several times counts once."""
        order = np.argsort(self.refs, kind="stable")
        order = order[self.refs[order] > 0]
        # References to different packs are so far apart that one axis does for all.
        begins = self.refs[order].astype(np.int64)
        ends = begins + self.counts[order]
        reached = np.maximum.accumulate(np.concatenate((np.zeros(1, np.int64), ends)))[:-1]
        fresh = np.maximum(0, ends - np.maximum(begins, reached))
        return np.bincount(self.packs[order], weights=fresh, minlength=packs).astype(np.int64)


class PageTableBuilder:
    """Takes references in the order of the stream and makes a table of them."""

    def __init__(self) -> None:
        self._refs: list[Refs] = []
        self._counts: list[Integers] = []
        self.pages = 0
        """How many there are by now."""

    def append(self, refs: Refs) -> None:
        """The next pages of the stream."""
        if not len(refs):
            return
        goes_on = (refs[1:] - refs[:-1] == 1) | ((refs[1:] == 0) & (refs[:-1] == 0))
        begins = np.concatenate(([0], np.flatnonzero(~goes_on) + 1))
        self._refs.append(refs[begins])
        self._counts.append(np.diff(begins, append=len(refs)))
        self.pages += len(refs)

    def append_zeros(self, count: int) -> None:
        """The next `count` pages of the stream are zeros."""
        if count:
            self._refs.append(np.zeros(1, np.uint64))
            self._counts.append(np.array([count], np.int64))
            self.pages += count

    def append_runs(self, refs: Refs, counts: Integers) -> None:
        """The next pages of the stream: runs of so many, each from that reference on."""
        self._refs.append(refs)
        self._counts.append(counts)
        self.pages += int(counts.sum())

    def build(self, packs: Sequence[int]) -> PageTable:
        """The table; the pack that was called `packs[i]` until now is called `i` in it.

        Every reference has to be to one of them.
        """
        if not self._refs:
            return PageTable(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint64))
        refs, counts = np.concatenate(self._refs), np.concatenate(self._counts)
        names = np.zeros(max(packs, default=-1) + 2, np.uint64)
        for name, pack in enumerate(packs):
            names[pack + 1] = name + 1
        refs = names[refs >> _PACK_SHIFT] << _PACK_SHIFT | refs & _PAGE_MASK
        is_zero = refs == 0
        ends = refs + counts.astype(np.uint64)
        goes_on = np.where(is_zero[:-1], is_zero[1:], ends[:-1] == refs[1:])
        begins = np.concatenate(([0], np.flatnonzero(~goes_on) + 1))
        counts = np.add.reduceat(counts, begins)
        return PageTable(np.cumsum(counts) - counts, counts, refs[begins])

    def used_packs(self) -> list[int]:
        """Every pack that a reference is to, ascending."""
        if not self._refs:
            return []
        packs = np.unique(np.concatenate(self._refs) >> _PACK_SHIFT)
        return [int(pack) - 1 for pack in packs if pack]


def encode_table(table: PageTable) -> bytes:
    """The bytes of a table, before compression; docs/formats has the layout."""
    packs, firsts = table.packs, table.firsts
    deltas = firsts - _expected_firsts(packs, firsts, table.counts)
    zigzag = (deltas << 1) ^ (deltas >> 63)
    columns = (table.counts, packs + 1, zigzag)
    return b"".join(
        column.astype(kind).view(np.uint8).reshape(-1, width).T.tobytes()
        for column, (kind, width) in zip(columns, _COLUMNS, strict=True)
    )


def decode_table(content: bytes, pages: int, pack_pages: Sequence[int]) -> PageTable:
    """Reads a table of a stream of `pages` pages over packs that have `pack_pages` pages each. Raises CorruptData."""
    runs, odd = divmod(len(content), _RUN_BYTES)
    if odd or pages > MAX_PAGES:
        raise CorruptData(f"a page table of {len(content)} bytes for {pages} pages cannot be")
    columns = []
    position = 0
    for kind, width in _COLUMNS:
        planes = np.frombuffer(content, np.uint8, runs * width, position).reshape(width, runs)
        columns.append(np.ascontiguousarray(planes.T).view(kind).reshape(runs))
        position += runs * width
    counts, packs = columns[0].astype(np.int64), columns[1].astype(np.int64) - 1
    if runs and not (counts.min() >= 1 and counts.max() <= MAX_PAGES and packs.max() < len(pack_pages)):
        raise CorruptData("a page table has a run that cannot be")
    if int(counts.sum()) != pages:
        raise CorruptData(f"a page table is for {int(counts.sum())} pages where the files have {pages}")
    zigzag = columns[2]
    deltas = (zigzag >> np.uint64(1)).astype(np.int64) ^ -(zigzag & np.uint64(1)).astype(np.int64)
    firsts = _firsts(packs, deltas, counts)
    limits = np.append(np.asarray(pack_pages, np.int64), 0)[packs]
    is_zero = packs < 0
    if np.any(firsts < 0) or np.any(firsts[is_zero]) or np.any((firsts + counts > limits) & ~is_zero):
        raise CorruptData("a page table refers to pages that its packs do not have")
    refs = (packs + 1).astype(np.uint64) << _PACK_SHIFT | firsts.astype(np.uint64)
    return PageTable(np.cumsum(counts) - counts, counts, refs)


def _expected_firsts(packs: Integers, firsts: Integers, counts: Integers) -> Integers:
    """For each run the page after the run before it in the same pack: where it most likely goes on."""
    order = np.argsort(packs, kind="stable")
    ends = (firsts + counts)[order]
    expected = np.concatenate(([0], ends[:-1])) if len(ends) else ends
    expected[_group_begins(packs[order])] = 0
    expected[packs[order] < 0] = 0
    back = np.empty_like(expected)
    back[order] = expected
    return back


def _firsts(packs: Integers, deltas: Integers, counts: Integers) -> Integers:
    """What `_expected_firsts` was subtracted from."""
    order = np.argsort(packs, kind="stable")
    sorted_packs = packs[order]
    begins = _group_begins(sorted_packs)
    steps = deltas[order]
    if len(steps):
        before = np.concatenate(([0], counts[order][:-1]))
        before[begins] = 0
        steps = steps + before
    sums = np.cumsum(steps)
    lengths = np.diff(np.append(begins, len(sums)))
    bases = np.concatenate(([0], sums))[begins]
    firsts: Integers = sums - np.repeat(bases, lengths)
    is_zero = sorted_packs < 0
    firsts[is_zero] = deltas[order][is_zero]
    back: Integers = np.empty_like(firsts)
    back[order] = firsts
    return back


def _group_begins(values: Integers) -> Integers:
    if not len(values):
        return np.zeros(0, np.int64)
    begins: Integers = np.concatenate(([0], np.flatnonzero(np.diff(values)) + 1))
    return begins

"""Turns the chunks of a folder's files into packs and a page table, storing only pages that are not stored yet."""

from __future__ import annotations

import numpy as np
from blake3 import blake3

from swarmkeep.store.base_version import BaseVersion
from swarmkeep.store.blob import BlobStore
from swarmkeep.store.chunks import MAX_CHUNK_PAGES, Chunk, Chunks, ChunksBuilder
from swarmkeep.store.keys import pack_key, pack_name
from swarmkeep.store.pack import PAGE_HASH_BYTES, PackBuilder, PackInfo, Words
from swarmkeep.store.page_table import PAGE_BYTES, PageTable, PageTableBuilder, Refs
from swarmkeep.store.prune import plan_renewal
from swarmkeep.store.sealing import new_data_key

MAX_REMEMBERED_PAGES = 400_000
"""Of the pages that one version adds, so many are remembered in order to store the same page once only (60 MB)."""

_WORDS = PAGE_BYTES // 8


class VersionWriter:
    """Takes the files of one version chunk by chunk. Memory: a pack, the page table, the remembered pages."""

    def __init__(
        self, blobs: BlobStore, workload: str, attempt: str, base: BaseVersion | None, *, sealed: bool = False
    ) -> None:
        """With `sealed` each pack gets a data key of its own."""
        self._blobs = blobs
        self._workload = workload
        self._attempt = attempt
        self._sealed = sealed
        self._base = base
        self._base_packs = base.packs if base else ()
        self._table = PageTableBuilder()
        self._chunks = ChunksBuilder()
        self._position: int | None = None
        self._new_packs: list[PackInfo] = []
        self._builder = self._new_builder()
        self._remembered: dict[bytes, int] = {}
        self._before: PageTable | None = None
        """The page table before mostly dead packs are left; from then on `_table` takes what becomes of it."""
        self._is_dead = np.zeros(0, bool)
        """Of each pack, counted as references do, whether it is left."""
        self.new_bytes = 0
        """Length of all packs written by now."""

    def begin_file(self, path: bytes) -> None:
        """From now on pages are of that file."""
        self._position = self._base.begin(path) if self._base else None

    def next_cut(self) -> int:
        """How many pages `chunk` should get next: such that it may be a chunk of the base."""
        if self._base is None or self._position is None:
            return MAX_CHUNK_PAGES
        return self._base.chunks.next_cut(self._position)

    def zeros(self, pages: int) -> None:
        """The next pages of the current file are zeros."""
        self._table.append_zeros(pages)
        self._advance(pages)

    def chunk(self, pages: memoryview) -> None:
        """The next pages of the current file; beyond its end there are zeros.

        Raises StorageFull, Unavailable, HostError.
        """
        words = np.frombuffer(pages, np.uint64).reshape(-1, _WORDS)
        if not words[0, 0] and not words.any():
            self.zeros(len(words))
            return
        digest = blake3(pages).digest()
        self._chunks.append(self._table.pages, len(words), digest)
        known = self._base.find_chunk(digest, len(words)) if self._base else None
        if known is None:
            self._table.append(self._pages(pages, words))
        else:
            refs, counts, self._position = known
            self._table.append_runs(refs, counts)

    def outdated(self) -> list[Chunk]:
        """Once all files were given: the chunks with pages in packs that the version uses too little of.

        Each is to be given to `renew`, in this order.
        """
        packs = len(self._base_packs)
        if not packs:
            return []
        before = self._table.build(range(packs + len(self._new_packs) + 1))
        is_dead = plan_renewal(before.live_pages(packs)[:packs].tolist(), [pack.pages for pack in self._base_packs])
        # References count packs from 1; new packs are all alive.
        self._is_dead = np.array([False, *is_dead, *[False] * (len(self._new_packs) + 1)])
        runs = np.flatnonzero(self._is_dead[before.packs + 1])
        if not len(runs):
            return []
        self._before, self._table = before, PageTableBuilder()
        return self._chunks.build().touching(before.starts[runs], before.starts[runs] + before.counts[runs])

    def renew(self, chunk: Chunk, pages: memoryview) -> bool:
        """Stores anew what of this chunk lies in mostly dead packs; False if these are not its pages any more.

        Raises StorageFull, Unavailable, HostError.
        """
        if self._before is None or blake3(pages).digest() != chunk.hash:
            return False
        done = self._table.pages
        if chunk.start > done:
            self._table.append_runs(*self._before.cut(done, chunk.start - done))
        refs = self._before.expand(chunk.start, chunk.pages)
        dead = np.flatnonzero(self._is_dead[refs >> np.uint64(32)])
        digests = [
            blake3(pages[start : start + PAGE_BYTES]).digest(PAGE_HASH_BYTES) for start in (dead * PAGE_BYTES).tolist()
        ]
        refs[dead] = self._new_pages(np.frombuffer(pages, np.uint64).reshape(-1, _WORDS)[dead], digests)
        self._table.append(refs)
        return True

    def finish(self) -> tuple[tuple[PackInfo, ...], PageTable, Chunks]:
        """Writes what is left: the packs that the version needs, its page table and its chunks."""
        if self._before is not None and self._before.pages > self._table.pages:
            done = self._table.pages
            self._table.append_runs(*self._before.cut(done, self._before.pages - done))
        self._close_pack()
        used = self._table.used_packs()
        packs = [*self._base_packs, *self._new_packs]
        return tuple(packs[pack] for pack in used), self._table.build(used), self._chunks.build()

    def discard(self) -> None:
        """Removes the packs that were written. Raises Unavailable, HostError; then `sweep` finds them."""
        # One more than are known: a put that failed may have left its pack.
        for number in range(len(self._new_packs) + 1):
            self._blobs.delete(pack_key(self._workload, pack_name(self._attempt, number)))

    def _pages(self, pages: memoryview, words: Words) -> Refs:
        refs = np.zeros(len(words), np.uint64)
        is_zero = words[:, 0] == 0
        is_zero[is_zero] = ~words[is_zero].any(axis=1)
        stored = np.flatnonzero(~is_zero)
        digests = [
            blake3(pages[start : start + PAGE_BYTES]).digest(PAGE_HASH_BYTES)
            for start in (stored * PAGE_BYTES).tolist()
        ]
        self._advance(len(refs))
        if self._base:
            refs[stored] = self._base.index.find(np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2))
            found = np.flatnonzero(refs)
            if len(found):
                position = self._base.position(int(refs[found[-1]]))
                self._position = None if position is None else position + len(refs) - int(found[-1])
        missing = np.flatnonzero(refs[stored] == 0)
        if len(missing):
            refs[stored[missing]] = self._new_pages(
                words[stored[missing]], [digests[place] for place in missing.tolist()]
            )
        return refs

    def _advance(self, pages: int) -> None:
        if self._position is not None:
            self._position += pages

    def _new_pages(self, words: Words, digests: list[bytes]) -> list[int]:
        """Stores pages that the base does not have, equal ones once; returns their references."""
        if self._builder.is_full:
            self._close_pack()
        next_ref = (len(self._base_packs) + len(self._new_packs) + 1) << 32 | self._builder.pages
        refs: list[int] = []
        fresh: list[int] = []
        for place, digest in enumerate(digests):
            ref = self._remembered.get(digest)
            if ref is None:
                ref = next_ref + len(fresh)
                fresh.append(place)
                if len(self._remembered) < MAX_REMEMBERED_PAGES:
                    self._remembered[digest] = ref
            refs.append(ref)
        self._builder.add(words[fresh], [digests[place] for place in fresh])
        return refs

    def _close_pack(self) -> None:
        if not self._builder.pages:
            return
        info, parts = self._builder.finish()
        self._blobs.put(pack_key(self._workload, info.name), parts)
        self._new_packs.append(info)
        self._builder = self._new_builder()
        self.new_bytes += info.size

    def _new_builder(self) -> PackBuilder:
        name = pack_name(self._attempt, len(self._new_packs))
        return PackBuilder(name, new_data_key() if self._sealed else None)

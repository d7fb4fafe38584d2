"""The version that a new one builds on: what of it is stored already, chunk by chunk and page by page."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from swarmkeep.errors import DataError, NotFound
from swarmkeep.store.blob import BlobStore
from swarmkeep.store.keys import pack_key
from swarmkeep.store.layout import Layout
from swarmkeep.store.manifest import Manifest
from swarmkeep.store.pack import PackInfo, read_page_hashes
from swarmkeep.store.page_index import Hashes, PageIndex
from swarmkeep.store.page_table import Integers, Refs
from swarmkeep.store.prune import plan_reuse


class BaseVersion:
    """A finished version whose pages a new one may refer to. References count packs as its manifest does."""

    def __init__(self, manifest: Manifest, usable: list[bool], index: PageIndex) -> None:
        self.attempt = manifest.attempt
        """The try that wrote it: another one wrote it when it was repaired."""
        self.packs = manifest.packs
        self.chunks = manifest.chunks
        self.index = index
        self._table = manifest.table
        self._by_hash = {digest: number for number, digest in enumerate(manifest.chunks.hashes)}
        layout = Layout(manifest.entries)
        self._files = {
            entry.path: begin for entry, begin in zip(layout.files, layout.begins[:-1].tolist(), strict=True)
        }
        self._by_ref = np.argsort(manifest.table.refs, kind="stable")
        self._sorted_refs = manifest.table.refs[self._by_ref]
        # References count packs from 1; 0 is for zeros, which are always at hand.
        self._usable = np.array([True, *usable])

    def begin(self, path: bytes) -> int | None:
        """Where the file of that path begins in the stream, in pages."""
        return self._files.get(path)

    def find_chunk(self, digest: bytes, pages: int) -> tuple[Refs, Integers, int] | None:
        """The runs of the chunk with that hash, if they may be used, and where it ends in the stream."""
        number = self._by_hash.get(digest)
        if number is None or self.chunks.pages[number] != pages:
            return None
        start = self.chunks.starts[number]
        refs, counts = self._table.cut(start, pages)
        return (refs, counts, start + pages) if self._usable[refs >> np.uint64(32)].all() else None

    def position(self, ref: int) -> int | None:
        """Where in the stream a page with that reference is."""
        place = int(np.searchsorted(self._sorted_refs, np.uint64(ref), "right")) - 1
        if place < 0:
            return None
        run = self._by_ref[place]
        within = ref - int(self._table.refs[run])
        return int(self._table.starts[run]) + within if within < self._table.counts[run] else None


def open_base(blobs: BlobStore, manifest: Manifest, sizes: dict[str, int]) -> BaseVersion:
    """Prepares to build on a version. Packs that are missing, cut short or damaged are not built on.

    `sizes`: the length of each pack that is in storage, by name. Raises Unavailable.
    """
    packs = manifest.packs
    live = manifest.table.live_pages(len(packs)).tolist()
    order = [
        pack
        for pack in plan_reuse(live, [pack.pages for pack in packs])
        if sizes.get(packs[pack].name) == packs[pack].size
    ]
    usable = [pack in order for pack in range(len(packs))]

    def hashes() -> Iterator[tuple[int, Hashes]]:
        for pack in order:
            try:
                yield pack, fetch_page_hashes(blobs, manifest.workload, packs[pack])
            except (DataError, NotFound):
                usable[pack] = False

    index = PageIndex(hashes())
    return BaseVersion(manifest, usable, index)


def fetch_page_hashes(blobs: BlobStore, workload: str, pack: PackInfo) -> Hashes:
    """The hashes of a pack's pages. Raises NotFound, CorruptData, Unavailable."""
    return read_page_hashes(pack, blobs.read(pack_key(workload, pack.name), *pack.page_hashes_range))

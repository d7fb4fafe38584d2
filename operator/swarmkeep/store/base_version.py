"""The version that a new one builds on: what of it is stored already, chunk by chunk and page by page."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from swarmkeep.errors import DataError, NotFound
from swarmkeep.store.blob import BlobStore
from swarmkeep.store.keys import pack_key
from swarmkeep.store.layout import CHUNK_PAGES, Layout, whole_pages
from swarmkeep.store.manifest import HASH_BYTES, Manifest
from swarmkeep.store.pack import PackInfo, read_page_hashes
from swarmkeep.store.page_index import Hashes, PageIndex
from swarmkeep.store.page_table import Refs
from swarmkeep.store.prune import plan_reuse


class BaseVersion:
    """A finished version whose pages a new one may refer to. References count packs as its manifest does."""

    def __init__(self, manifest: Manifest, usable: list[bool], index: PageIndex) -> None:
        self.packs = manifest.packs
        self.index = index
        self._manifest = manifest
        self._layout = Layout(manifest.entries)
        self._files = {entry.path: number for number, entry in enumerate(self._layout.files)}
        self._chunks = self._layout.stored_chunks(manifest.table, len(manifest.chunk_hashes) // HASH_BYTES)
        # References count packs from 1; 0 is for zeros, which are always at hand.
        self._usable = np.array([True, *usable])

    def chunk(self, path: bytes, number: int, size: int, digest: bytes) -> Refs | None:
        """References to a chunk's pages, if that file of `size` bytes had the same chunk there and it may be used."""
        file = self._files.get(path)
        if file is None:
            return None
        start = number * CHUNK_PAGES
        count = min(CHUNK_PAGES, whole_pages(size) - start)
        if start + count > whole_pages(self._layout.files[file].size):
            return None
        chunk = self._layout.chunk_number(file, number)
        place = int(np.searchsorted(self._chunks, chunk))
        if place == len(self._chunks) or self._chunks[place] != chunk:
            return None
        if self._manifest.chunk_hashes[place * HASH_BYTES : (place + 1) * HASH_BYTES] != digest:
            return None
        refs = self._manifest.table.expand(int(self._layout.begins[file]) + start, count)
        return refs if self._usable[refs >> np.uint64(32)].all() else None


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

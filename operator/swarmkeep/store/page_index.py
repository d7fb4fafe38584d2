"""Finds pages that are stored already by their hash. Pure, on numpy arrays; 24 bytes a page."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from swarmkeep.store.page_table import Refs, make_refs

MAX_INDEXED_PAGES = 2_000_000
"""Bounds the memory (48 MB): pages beyond these (8 GiB) are found only while whole chunks of a file stay alike."""

Hashes = npt.NDArray[np.uint64]


class PageIndex:
    """Where pages with certain hashes lie."""

    def __init__(self, packs: Iterable[tuple[int, Hashes]]) -> None:
        """`packs`: a pack's number and the hashes of its pages, most useful pack first."""
        hashes, refs, room = [np.zeros((0, 2), np.uint64)], [np.zeros(0, np.uint64)], MAX_INDEXED_PAGES
        for pack, found in packs:
            hashes.append(found[:room])
            refs.append(make_refs(pack, 0, len(found[:room])))
            room -= len(found[:room])
            if not room:
                break
        every = np.concatenate(hashes)
        order = np.argsort(every[:, 0], kind="stable")
        self._heads = every[order, 0]
        self._tails = every[order, 1]
        self._refs = np.concatenate(refs)[order]

    def find(self, hashes: Hashes) -> Refs:
        """The reference of a page with each of the hashes; 0 where none is known."""
        if not len(self._heads):
            return np.zeros(len(hashes), np.uint64)
        # Of pages whose hashes begin alike only the first is found: a page that is missed is stored once more.
        place = np.minimum(np.searchsorted(self._heads, hashes[:, 0]), len(self._heads) - 1)
        is_found = (self._heads[place] == hashes[:, 0]) & (self._tails[place] == hashes[:, 1])
        return np.where(is_found, self._refs[place], np.uint64(0))

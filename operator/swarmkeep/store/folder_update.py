"""Makes a version's folder out of that of another version: what both have in common is neither read nor written. Pure.

Large files are moved over and changed in place; everything else is made anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from swarmkeep.store.layout import Layout
from swarmkeep.store.manifest import Manifest
from swarmkeep.store.page_table import PAGE_BYTES, Refs

MIN_BYTES = 1 << 20
"""Smaller files are read again: moving them over saves nothing."""
MAX_PAGES = 1 << 21
"""Versions of more pages (8 GiB) are read whole: comparing them would take too much memory."""

_PACK_SHIFT = np.uint64(32)
_PAGE_MASK = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Base:
    """A folder that is exactly that version. It is used up by the update, and no version any more if that fails."""

    folder: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Update:
    """What has to be done to files that are moved over from the base."""

    taken: frozenset[bytes]
    """Paths of the files that are moved over."""
    wanted: npt.NDArray[np.bool_]
    """For each page of the new version's stream, whether it has to be read."""
    zeroed: tuple[tuple[int, int, int], ...]
    """File, offset and length in bytes of what has to become zeros."""


def plan_update(new: Manifest, layout: Layout, old: Manifest) -> Update | None:
    """How to get from one version to another; None when that is better read whole."""
    old_layout = Layout(old.entries)
    if max(layout.pages, old_layout.pages) > MAX_PAGES:
        return None
    old_files = {entry.path: number for number, entry in enumerate(old_layout.files)}
    names = _translation([pack.name for pack in old.packs], {pack.name: at for at, pack in enumerate(new.packs)})
    wanted = np.ones(layout.pages, np.bool_)
    taken: set[bytes] = set()
    zeroed: list[tuple[int, int, int]] = []
    for number, entry in enumerate(layout.files):
        before = old_files.get(entry.path)
        if before is None or entry.size < MIN_BYTES or old_layout.files[before].xattrs != entry.xattrs:
            continue
        taken.add(entry.path)
        begin, end = int(layout.begins[number]), int(layout.begins[number + 1])
        refs = new.table.expand(begin, end - begin)
        old_begin, old_end = int(old_layout.begins[before]), int(old_layout.begins[before + 1])
        known = np.zeros(end - begin, np.uint64)
        common = min(end - begin, old_end - old_begin)
        known[:common] = _translated(old.table.expand(old_begin, common), names)
        changed = refs != known
        wanted[begin:end] = changed
        zeroed += [(number, start * PAGE_BYTES, count * PAGE_BYTES) for start, count in _runs(changed & (refs == 0))]
    return Update(frozenset(taken), wanted, tuple(zeroed)) if taken else None


def _translation(old: list[str], new: Mapping[str, int]) -> Refs:
    """For each pack of the old version, counted from 1, what the new one calls it; a number of no pack for others."""
    return np.array([0, *(new.get(name, len(new)) + 1 for name in old)], np.uint64)


def _translated(refs: Refs, names: Refs) -> Refs:
    translated: Refs = names[refs >> _PACK_SHIFT] << _PACK_SHIFT | refs & _PAGE_MASK
    return translated


def _runs(marked: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Start and length of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], marked, [False])).astype(np.int8)))
    return [(int(start), int(end - start)) for start, end in edges.reshape(-1, 2)]

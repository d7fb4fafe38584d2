"""Decides which packs a version may lean on, and which may go. Pure.

A pack may go when no version needs it and no writer can come to need it. A writer first leaves a mark that names the
version that it builds on, then reads that version's manifest, and takes the mark away after its own manifest is there.
A deleter removes manifests first, then lists the marks, then the manifests, then decides. So a writer that read a
manifest before it was removed is either still marked, or its own manifest is listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MIN_LIVE_SHARE = 1 / 8
"""Of a pack that a version leans on, it uses at least this share of the pages; of other packs it stores anew what it
needs. So whichever versions are deleted, what is left takes at most eight times the pages that are in use."""
MANY_PACKS = 96
"""A version that leans on more packs than this gathers the smallest ones into one,"""
MAX_GATHERED_PAGES = 4096
"""but stores no more pages than this (16 MiB) anew for it."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Somebody who writes a version now."""

    attempt: str
    version: int
    base: int | None
    """The version whose packs the new one may lean on."""


def plan_reuse(live_pages: Sequence[int], pages: Sequence[int]) -> list[int]:
    """The packs that a new version should go on leaning on, most useful first.

    `live_pages[i]` of the `pages[i]` pages of pack i are of use to its base. What is left out gets stored anew with the
    new version, so that tiny packs do not pile up. Packs that are mostly dead already are not worth a try.
    """
    useful = [
        pack
        for pack, (live, every) in enumerate(zip(live_pages, pages, strict=True))
        if live and live >= every * MIN_LIVE_SHARE
    ]
    useful.sort(key=lambda pack: (-live_pages[pack], pack))
    room = MAX_GATHERED_PAGES
    while len(useful) > MANY_PACKS and live_pages[useful[-1]] <= room:
        room -= live_pages[useful.pop()]
    return useful


def plan_renewal(live_pages: Sequence[int], pages: Sequence[int]) -> list[bool]:
    """Which packs a new version must not lean on in the end: it uses only `live_pages[i]` of `pages[i]` of pack i.

    Those few pages are stored anew with it, so that the pack vanishes with the versions that need more of it.
    """
    return [0 < live < every * MIN_LIVE_SHARE for live, every in zip(live_pages, pages, strict=True)]


def plan_prune(
    packs: Iterable[str], needed: Mapping[int, frozenset[str] | None], writers: Sequence[Writer]
) -> frozenset[str]:
    """Which of the `packs` of one workload may go now. Its data keys go by the same rule, one name for each attempt.

    `needed`: the packs that each version needs, None where nobody can say because its manifest is damaged or newer;
    then all stay. All stay as well while somebody builds on a version that is gone: nobody can say what that one
    needed.
    """
    if any(names is None for names in needed.values()):
        return frozenset()
    if any(writer.base is not None and writer.base not in needed for writer in writers):
        return frozenset()
    attempts = {writer.attempt for writer in writers}
    live = frozenset[str]().union(*(names for names in needed.values() if names is not None))
    return frozenset(pack for pack in packs if pack not in live and attempt_of(pack) not in attempts)


def attempt_of(pack: str) -> str:
    """Which attempt to write a version made the pack of that name."""
    return pack.partition("-")[0]

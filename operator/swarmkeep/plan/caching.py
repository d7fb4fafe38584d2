"""Which ready images a node's cache lets go. Used by the agent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from swarmkeep.model.ident import Ref

KEPT_EACH = 2
"""Versions of one workload that the cache holds: the newest, and the one to turn to when that does not come up."""
DISK_SHARE = 0.5
"""Of what is free on the disk without the cache, so much it may fill at most."""


@dataclass(frozen=True, slots=True)
class Image:
    """A version as a ready folder."""

    workload: Ref
    number: int
    taken_at: datetime
    bytes: int


def plan_eviction(images: Iterable[Image], in_use: frozenset[tuple[Ref, int]], limit_bytes: int) -> tuple[Image, ...]:
    """The images that go, in this order, so that the rest has `limit_bytes` at most.

    Those beyond the newest few of their workload go in any case. Then the oldest go first, but the newest of each
    workload only after all others: one image of every workload is worth more than two of some. What is `in_use` stays.
    """
    ranked = sorted(images, key=lambda image: (image.workload, -image.number))
    ranks: dict[Ref, int] = {}
    rank: dict[tuple[Ref, int], int] = {}
    for image in ranked:
        rank[image.workload, image.number] = ranks.get(image.workload, 0)
        ranks[image.workload] = ranks.get(image.workload, 0) + 1
    held = sum(image.bytes for image in ranked)
    going = []
    for image in sorted(
        ranked, key=lambda image: (-rank[image.workload, image.number], image.taken_at, image.workload)
    ):
        key = (image.workload, image.number)
        if key not in in_use and (rank[key] >= KEPT_EACH or held > limit_bytes):
            going.append(image)
            held -= image.bytes
    return tuple(going)


def cache_limit(wanted_bytes: int, free_bytes: int, cached_bytes: int) -> int:
    """How much the cache may hold: what the settings say, and never more than its share of the disk."""
    return min(wanted_bytes, int((free_bytes + cached_bytes) * DISK_SHARE))

"""Which ready images a node's cache lets go. Used by the agent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from swarmkeep.model.ident import Ref

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

    Of each workload only the newest is kept: what is older is seldom wanted, and its pages would have to be written to
    the disk while the next dump is. Then the oldest go first. What is `in_use` stays.
    """
    by_age = sorted(images, key=lambda image: (image.taken_at, image.workload, image.number))
    newest = {
        image.workload: image.number for image in sorted(by_age, key=lambda image: (image.workload, image.number))
    }
    held = sum(image.bytes for image in by_age)
    going: list[Image] = []
    for image in sorted(by_age, key=lambda image: image.number == newest[image.workload]):
        superseded = image.number < newest[image.workload]
        if (image.workload, image.number) not in in_use and (superseded or held > limit_bytes):
            going.append(image)
            held -= image.bytes
    return tuple(going)


def cache_limit(wanted_bytes: int, free_bytes: int, cached_bytes: int) -> int:
    """How much the cache may hold: what the settings say, and never more than its share of the disk."""
    return min(wanted_bytes, int((free_bytes + cached_bytes) * DISK_SHARE))

"""Who wants a container to stand still, and why: it runs only when nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Protocol


class Why(StrEnum):
    """Reasons to hold a container still."""

    VERSION = "Version"
    FENCED = "Fenced"


class Freezer(Protocol):
    """Freezes and thaws a container's cgroup; both are idempotent and bounded in time."""

    async def freeze(
        self, container_id: str, pid: int, *, keep: bool, beforehand: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Returns when every thread stands still. With `keep` it stays so even if this process dies.

        `beforehand` runs as the last thing before; when it raises, nothing is frozen.
        """

    async def thaw(self, container_id: str, pid: int) -> None:
        """Lets it go on."""


class Freezes:
    """Holds and lets go; a container with two reasons to stand still goes on when both are gone."""

    def __init__(self, freezer: Freezer) -> None:
        self._freezer = freezer
        self._reasons: dict[str, set[Why]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def hold(
        self, container_id: str, pid: int, why: Why, beforehand: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Freezes the container for `why`, `beforehand` being the last thing that is done before.

        Raises HostError when it cannot be frozen, or what `beforehand` raises; then nothing is held.
        """
        async with self._lock(container_id):
            reasons = self._reasons.setdefault(container_id, set())
            already = why in reasons
            reasons.add(why)
            try:
                await self._freezer.freeze(container_id, pid, keep=Why.FENCED in reasons, beforehand=beforehand)
            except BaseException:
                if not already:
                    reasons.discard(why)
                    if not reasons:
                        await self._freezer.thaw(container_id, pid)
                raise

    async def let_go(self, container_id: str, pid: int, why: Why) -> None:
        """Takes `why` away and thaws the container when no reason is left."""
        async with self._lock(container_id):
            reasons = self._reasons.get(container_id, set())
            reasons.discard(why)
            if not reasons:
                await self._freezer.thaw(container_id, pid)

    def is_held(self, container_id: str, why: Why) -> bool:
        """Whether the container stands still for `why`."""
        return why in self._reasons.get(container_id, ())

    def forget(self, container_id: str) -> None:
        """The container is gone."""
        self._reasons.pop(container_id, None)
        self._locks.pop(container_id, None)

    def _lock(self, container_id: str) -> asyncio.Lock:
        return self._locks.setdefault(container_id, asyncio.Lock())

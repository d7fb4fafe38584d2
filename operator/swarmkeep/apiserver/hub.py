"""One etcd watch over all objects, handed on to the history and to whoever keeps a view of some of them.

Runs for as long as the server does. Client streams stay open while etcd is away and go on afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Protocol

import structlog

from swarmkeep.apiserver.history import Change, History
from swarmkeep.apiserver.keys import REGISTRY_PREFIX, parse_key
from swarmkeep.errors import SwarmKeepError, Unavailable
from swarmkeep.etcd.failures import Compacted
from swarmkeep.etcd.port import Etcd
from swarmkeep.etcd.records import EventType, WatchEvent

log = structlog.get_logger(__name__)

REPLAYED_REVISIONS = 5000
"""A new server reads this many revisions back, so that its clients' watches go on over its restart."""
_PAUSE_S = 0.2, 2.0


class View(Protocol):
    """Keeps what it needs of some objects."""

    async def load(self, etcd: Etcd) -> None:
        """Reads its objects as they are now, forgetting what it knew."""

    def observe(self, event: WatchEvent) -> None:
        """Takes in one change; changes that it knows of already may come again."""


class Hub:
    """Watches etcd. `ready` is set once it knows what is there."""

    def __init__(self, etcd: Etcd, history: History, views: Sequence[View]) -> None:
        self._etcd = etcd
        self._history = history
        self._views = views
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Follows etcd for ever."""
        pause, longest = _PAUSE_S
        reported = False
        while True:
            try:
                await self._follow()
            except Compacted:
                log.warning("etcd has compacted changes that were not seen yet: clients have to list again")
                pause = _PAUSE_S[0]
            except Unavailable as error:
                if not reported:
                    log.warning("waiting for etcd", error=str(error))
                reported = True
            except SwarmKeepError as error:
                log.error("cannot follow etcd", error=str(error))
            await asyncio.sleep(pause)
            pause = min(longest, pause * 2)

    async def _follow(self) -> None:
        for view in self._views:
            await view.load(self._etcd)
        now = (await self._etcd.range(REGISTRY_PREFIX, limit=1, keys_only=True)).revision
        self._history.restart(begins_after=max(0, now - REPLAYED_REVISIONS))
        while True:
            try:
                await self._watch(self._history.begins_after + 1)
            except Compacted as error:
                # etcd accepts a watch from a compacted revision before it refuses it. As long as nothing has come, what
                # cannot be read back was not seen by anybody here: the history begins behind it.
                if self._history.revision > self._history.begins_after or error.revision <= self._history.begins_after:
                    self.ready.clear()
                    raise
                self._history.restart(begins_after=error.revision)

    async def _watch(self, start_revision: int) -> None:
        async with aclosing(self._etcd.watch(REGISTRY_PREFIX, start_revision=start_revision)) as batches:
            async for events in batches:
                for event in events:
                    self._take(event)
                if not self.ready.is_set():
                    self.ready.set()
                    log.info("follows etcd", from_revision=start_revision)

    def _take(self, event: WatchEvent) -> None:
        for view in self._views:
            view.observe(event)
        change = change_of(event)
        if change is not None:
            self._history.append(change)


def change_of(event: WatchEvent) -> Change | None:
    """The event as a change of an object; None if it is none."""
    key = parse_key(event.current.key)
    if key is None:
        return None
    previous = event.previous.value if event.previous else None
    revision = event.current.mod_revision
    if event.type is EventType.DELETE:
        # Without the previous value (it was compacted meanwhile) there is nothing to tell.
        return Change("DELETED", key, revision, previous, previous) if previous is not None else None
    created = event.current.create_revision == revision
    return Change("ADDED" if created else "MODIFIED", key, revision, event.current.value, previous)

"""The work queue: keys of objects that somebody has to look at. Fed by kopf's handlers, emptied by the driver.

A key is in it at most once and is worked on by one worker at a time; one that is added while it is worked on comes
again afterwards. Keys wait in a heap until their time. Everything runs in one event loop; time is the loop's.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import OrderedDict, deque
from dataclasses import dataclass

from swarmkeep.model.ident import Ref
from swarmkeep.plan.backoff import backoff


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What is looked at: one object of a kind. Never an event: what happened to it does not matter."""

    kind: str
    """Kind.name of model/kinds.py."""
    ref: Ref


class KeyedQueue:
    """Deduplicating, delaying, counting."""

    def __init__(self) -> None:
        self._ready: OrderedDict[Key, float] = OrderedDict()
        """Keys to look at now, with the time since when."""
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        """Keys that were added while they were worked on."""
        self._later: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        """The valid entry of each key in `_later`: the earliest that was asked for."""
        self._failures: dict[Key, int] = {}
        self._order = itertools.count()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Keys that wait to be looked at now."""
        return len(self._ready)

    @property
    def oldest_s(self) -> float:
        """Seconds that the key at the front has waited; 0 when there is none."""
        if not self._ready:
            return 0.0
        return asyncio.get_running_loop().time() - next(iter(self._ready.values()))

    @property
    def scheduled(self) -> int:
        """Keys that wait for their time."""
        return len(self._due)

    def add(self, key: Key, after_s: float = 0.0) -> None:
        """Has the key looked at, now or after a while. Of several wishes for later the earliest counts."""
        if after_s > 0:
            self._add_later(key, asyncio.get_running_loop().time() + after_s)
        elif key in self._working:
            self._again.add(key)
        else:
            self._make_ready(key)

    async def take(self) -> Key:
        """The next key, as soon as there is one. Whoever takes it calls `done` or `failed`."""
        while not self._ready:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    # It was this worker's turn: the next one has to take it.
                    self._wake_one()
                raise
        key, _ = self._ready.popitem(last=False)
        self._working.add(key)
        return key

    def done(self, key: Key, again_after_s: float | None = None) -> None:
        """It was looked at without a failure."""
        self._failures.pop(key, None)
        self._release(key)
        if again_after_s is not None:
            self.add(key, max(again_after_s, 0.001))

    def failed(self, key: Key, at_least_s: float = 0.0) -> float:
        """It could not be dealt with: comes again after a pause that grows with each failure. Returns the pause."""
        count = self._failures.get(key, 0) + 1
        self._failures[key] = count
        pause = max(backoff(count).total_seconds(), at_least_s)
        # What happens to the object meanwhile must not cut the pause short: the reason is most often on our side.
        self._again.discard(key)
        self._release(key)
        self._add_later(key, asyncio.get_running_loop().time() + pause)
        return pause

    def forget(self, key: Key) -> None:
        """The object is gone: no more wake-ups."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    def _release(self, key: Key) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self._make_ready(key)

    def _make_ready(self, key: Key) -> None:
        if key not in self._ready:
            self._ready[key] = asyncio.get_running_loop().time()
            self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _add_later(self, key: Key, at: float) -> None:
        if self._due.get(key, float("inf")) <= at:
            return
        self._due[key] = at
        heapq.heappush(self._later, (at, next(self._order), key))
        if self._later[0][0] == at:
            self._set_timer()

    def _set_timer(self) -> None:
        """One timer for all keys."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._later and self._due.get(self._later[0][2]) != self._later[0][0]:
            heapq.heappop(self._later)
        if self._later:
            self._timer = asyncio.get_running_loop().call_at(self._later[0][0], self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._later and self._later[0][0] <= now:
            at, _, key = heapq.heappop(self._later)
            if self._due.get(key) == at:
                del self._due[key]
                self.add(key)
        self._set_timer()

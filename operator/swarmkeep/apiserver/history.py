"""What happened lately, for watches: a bounded record of changes, one row for each kind of object.

Filled by hub.py from one etcd watch; read by any number of subscriptions, each at its own pace and without a queue of
its own: who falls too far behind finds its place forgotten and has to list again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import Literal

from swarmkeep.apiserver import codec
from swarmkeep.apiserver.keys import Collection, ObjectKey
from swarmkeep.errors import Conflict

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]

_OVERHEAD_BYTES = 600
"""What an entry costs beside its texts, about."""
_DECODED_ENTRIES = 256
"""Only this many of the newest changes keep their decoded form."""


class Expired(Conflict):
    """Changes that were asked for are forgotten."""

    def __init__(self, revision: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {revision} ({oldest})")


class Change:
    """One change of one object. For a deletion the object is what it was before, at the revision of its deletion."""

    __slots__ = ("_line", "_obj", "_previous_obj", "key", "previous", "raw", "revision", "type")

    def __init__(self, type_: ChangeType, key: ObjectKey, revision: int, raw: bytes, previous: bytes | None) -> None:
        self.type: ChangeType = type_
        self.key = key
        self.revision = revision
        self.raw = raw
        self.previous = previous
        self._obj: codec.Obj | None = None
        self._previous_obj: codec.Obj | None = None
        self._line: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return len(self.raw) + (len(self.previous) if self.previous else 0) + _OVERHEAD_BYTES

    def obj(self) -> codec.Obj:
        """The object; do not change it."""
        if self._obj is None:
            self._obj = codec.decode(self.raw, self.revision)
        return self._obj

    def previous_obj(self) -> codec.Obj | None:
        """The object before; do not change it."""
        if self._previous_obj is None and self.previous is not None:
            self._previous_obj = codec.decode(self.previous, self.revision)
        return self._previous_obj

    def line(self) -> bytes:
        """The watch event as it goes over the wire to everybody who asks for nothing special."""
        if self._line is None:
            self._line = watch_line(self.type, codec.stamp(self.raw, self.revision))
        return self._line

    def forget_decoded(self) -> None:
        """Frees what can be made again."""
        self._obj = self._previous_obj = self._line = None


def watch_line(type_: str, obj: bytes) -> bytes:
    """One event of a watch stream."""
    return b'{"type":"%b","object":%b}\n' % (type_.encode(), obj)


class _Row:
    """The changes of one kind."""

    __slots__ = ("changes", "forgotten_revision", "removed", "subscriptions")

    def __init__(self) -> None:
        self.changes: deque[Change] = deque()
        self.removed = 0
        """How many changes have left at the front: positions of subscriptions count from the very first."""
        self.forgotten_revision = 0
        """The newest revision that is no longer here."""
        self.subscriptions: set[Subscription] = set()


class History:
    """Changes of all kinds, at most `limit_bytes` together."""

    def __init__(self, limit_bytes: int = 32 * 1024 * 1024) -> None:
        self._limit = limit_bytes
        self._rows: dict[Collection, _Row] = {}
        self._order: deque[Change] = deque()
        self._decoded: deque[Change] = deque()
        self.bytes = 0
        self.begins_after = 0
        """Changes up to this revision were never recorded."""
        self.revision = 0
        """All changes up to here are recorded."""
        self.closed = False

    @property
    def subscriptions(self) -> int:
        """How many there are."""
        return sum(len(row.subscriptions) for row in self._rows.values())

    def restart(self, begins_after: int) -> None:
        """Begins anew after a gap: whoever waits for changes before it gets Expired."""
        self._order.clear()
        self._decoded.clear()
        self.bytes = 0
        self.begins_after = self.revision = begins_after
        for row in self._rows.values():
            row.removed += len(row.changes) + 1
            row.changes.clear()
            row.forgotten_revision = begins_after
            _wake(row)

    def append(self, change: Change) -> None:
        """Adds the newest change."""
        row = self._row(change.key.collection)
        row.changes.append(change)
        self._order.append(change)
        self.bytes += change.size
        self.revision = change.revision
        while self.bytes > self._limit and len(self._order) > 1:
            self._forget_oldest()
        self._decoded.append(change)
        if len(self._decoded) > _DECODED_ENTRIES:
            self._decoded.popleft().forget_decoded()
        _wake(row)

    def close(self) -> None:
        """Ends all subscriptions."""
        self.closed = True
        for row in self._rows.values():
            _wake(row)

    def subscribe(self, collection: Collection, after_revision: int) -> Subscription:
        """Changes of a kind after a revision. Raises Expired if some of them are forgotten."""
        row = self._row(collection)
        oldest = max(self.begins_after, row.forgotten_revision)
        if after_revision < oldest:
            raise Expired(after_revision, oldest)
        newer = 0
        for change in reversed(row.changes):
            if change.revision <= after_revision:
                break
            newer += 1
        subscription = Subscription(self, row, row.removed + len(row.changes) - newer, after_revision)
        row.subscriptions.add(subscription)
        return subscription

    def _row(self, collection: Collection) -> _Row:
        if collection not in self._rows:
            self._rows[collection] = _Row()
        return self._rows[collection]

    def _forget_oldest(self) -> None:
        oldest = self._order.popleft()
        row = self._rows[oldest.key.collection]
        row.changes.popleft()
        row.removed += 1
        row.forgotten_revision = oldest.revision
        self.bytes -= oldest.size


class Subscription:
    """A place in the history that moves on as changes are read. Close it when done."""

    __slots__ = ("_after", "_changed", "_history", "_position", "_row", "revision")

    def __init__(self, history: History, row: _Row, position: int, revision: int) -> None:
        self._history = history
        self._row = row
        self._position = position
        self._changed = asyncio.Event()
        self._after = revision
        self.revision = revision
        """All changes up to here have been read."""

    async def next(self, limit: int = 500) -> list[Change] | None:
        """The next changes, at least one, oldest first; None when the history is closed. Raises Expired."""
        while True:
            if self._history.closed:
                return None
            start = self._position - self._row.removed
            if start < 0:
                raise Expired(self.revision, self._row.forgotten_revision)
            available = len(self._row.changes) - start
            if available > 0:
                changes = self._slice(start, min(available, limit))
                self._position += len(changes)
                # A server that starts reads back what was before: its clients may have seen more than it has by now.
                unseen = [change for change in changes if change.revision > self._after]
                if unseen:
                    self.revision = max(self.revision, unseen[-1].revision)
                    return unseen
                continue
            self._changed.clear()
            await self._changed.wait()

    def catch_up(self) -> int:
        """The revision up to which the reader has missed nothing, for a bookmark."""
        if self._position - self._row.removed >= len(self._row.changes):
            self.revision = max(self.revision, self._history.revision)
        return self.revision

    def wake(self) -> None:
        """Says that there is something new."""
        self._changed.set()

    def close(self) -> None:
        """Gives up the place."""
        self._row.subscriptions.discard(self)

    def _slice(self, start: int, count: int) -> list[Change]:
        changes = self._row.changes
        if start > len(changes) // 2:  # a deque is quick at its ends
            newest_first = list(islice(reversed(changes), len(changes) - start))
            return newest_first[::-1][:count]
        return list(islice(changes, start, start + count))


def _wake(row: _Row) -> None:
    for subscription in row.subscriptions:
        subscription.wake()

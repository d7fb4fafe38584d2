"""Objects as they were last seen, so that a write to one of them need not read it first.

A view of the hub, and fed by this server's own writes. Only a guess: who uses it writes under the condition that the
revision is still this, and looks into etcd before saying no to anybody.
"""

from __future__ import annotations

from collections import OrderedDict

from swarmkeep.apiserver.store import Stored
from swarmkeep.etcd.port import Etcd
from swarmkeep.etcd.records import EventType, WatchEvent

_OVERHEAD_BYTES = 400


class RecentObjects:
    """At most `limit_bytes` of objects, those that changed or were used last."""

    def __init__(self, limit_bytes: int = 16 * 1024 * 1024) -> None:
        self._limit = limit_bytes
        self._bytes = 0
        self._objects: OrderedDict[str, Stored] = OrderedDict()

    async def load(self, etcd: Etcd) -> None:  # noqa: ARG002 - of the port
        """Forgets everything: there may have been changes that were not seen."""
        self._objects.clear()
        self._bytes = 0

    def observe(self, event: WatchEvent) -> None:
        """Takes in one change."""
        current = event.current
        if event.type is EventType.PUT:
            self.remember(current.key, Stored(current.value, current.mod_revision))
        elif (known := self._objects.get(current.key)) and known.revision < current.mod_revision:
            self._forget(current.key)

    def remember(self, key: str, stored: Stored) -> None:
        """Takes in an object, unless a newer state of it is known."""
        known = self._objects.get(key)
        if known is not None:
            if known.revision >= stored.revision:
                return
            self._forget(key)
        self._objects[key] = stored
        self._bytes += _size(key, stored)
        while self._bytes > self._limit and len(self._objects) > 1:
            self._forget(next(iter(self._objects)))

    def get(self, key: str) -> Stored | None:
        """The object as it was last seen; None says nothing."""
        found = self._objects.get(key)
        if found is not None:
            self._objects.move_to_end(key)
        return found

    def _forget(self, key: str) -> None:
        self._bytes -= _size(key, self._objects.pop(key))


def _size(key: str, stored: Stored) -> int:
    return len(key) + len(stored.raw) + _OVERHEAD_BYTES

"""Whether a node's Lease has run out, judged by this server's own clock: times that others wrote are not believed.

A view of the hub. A lease has run out when its key has not changed for as long as it lasts since this server saw it;
the write that relies on it compares the key's revision, so that a renewal that arrives first makes it fail.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic

from swarmkeep.apiserver.status_errors import StatusError, bad_request, lease_alive
from swarmkeep.etcd.port import Etcd
from swarmkeep.etcd.records import Compare, EventType, KeyValue, WatchEvent
from swarmkeep.model.kinds import LEASE, NODE_LEASE_NAMESPACE

NODE_LEASE_PREFIX = f"/registry/{LEASE.group}/{LEASE.plural}/{NODE_LEASE_NAMESPACE}/"

UNKNOWN_DURATION_RETRY_S = 5.0
LONGEST_LEASE_S = 60.0
"""What a lease that this server never saw may have lasted at most: it is gone, and its node may not know that yet."""


@dataclass(frozen=True, slots=True)
class _Seen:
    revision: int
    at: float
    duration_s: float | None = None
    """How long it lasts; None if it does not say."""
    gone: bool = False
    """It was deleted then. Its node may believe in it until it would have run out."""


class NodeLeases:
    """When this server first saw each node's lease as it is now."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._watched_since: float | None = None

    async def load(self, etcd: Etcd) -> None:
        """Reads all leases. Those that have not changed since keep the time at which they were seen."""
        found = await etcd.range(NODE_LEASE_PREFIX)
        now = self._clock()
        if self._watched_since is None:
            self._watched_since = now
        before, self._seen = self._seen, {}
        for item in found.items:
            seen = before.pop(item.key, None)
            same = seen is not None and seen.revision == item.mod_revision and not seen.gone
            self._seen[item.key] = seen if seen and same else _Seen(item.mod_revision, now, _duration_s(item.value))
        for key, seen in before.items():
            self._seen[key] = seen if seen.gone else replace(seen, at=now, gone=True)

    def observe(self, event: WatchEvent) -> None:
        """Takes in one change."""
        key, revision = event.current.key, event.current.mod_revision
        if not key.startswith(NODE_LEASE_PREFIX):
            return
        seen = self._seen.get(key)
        if seen and seen.revision >= revision:
            return
        if event.type is EventType.DELETE:
            lasted = _duration_s(event.previous.value) if event.previous else seen.duration_s if seen else None
            self._seen[key] = _Seen(revision, self._clock(), lasted, gone=True)
        else:
            self._seen[key] = _Seen(revision, self._clock(), _duration_s(event.current.value))

    def expired(self, node: str, current: KeyValue | None) -> Compare:
        """The compare that proves, within a transaction, that the node's lease has run out.

        `current` is the lease's key as just read. Raises StatusError LeaseAlive if it has not run out, as far as this
        server can know.
        """
        key = lease_key(node)
        if current is None:
            left = self._left_of_deleted(key)
            if left > 0:
                raise lease_alive(node, left, "it was deleted, and its node may not know that yet")
            return Compare(key, "mod", 0)
        duration = _duration_s(current.value)
        if duration is None:
            raise lease_alive(node, UNKNOWN_DURATION_RETRY_S, "it does not say how long it lasts")
        seen = self._seen.get(key)
        if seen is None or seen.revision != current.mod_revision:
            raise lease_alive(node, duration, "it was renewed just now")
        left = duration - (self._clock() - seen.at)
        if left > 0:
            raise lease_alive(node, left, "it was renewed lately")
        return Compare(key, "mod", current.mod_revision)

    def _left_of_deleted(self, key: str) -> float:
        """Seconds for which the node of a lease that is not there may still believe in it."""
        seen = self._seen.get(key)
        if seen is not None and not seen.gone:
            # This server has not heard of the deletion yet.
            return seen.duration_s or LONGEST_LEASE_S
        since = seen.at if seen else self._watched_since
        lasts = (seen.duration_s if seen else None) or LONGEST_LEASE_S
        return lasts if since is None else lasts - (self._clock() - since)


def lease_key(node: str) -> str:
    """Where the lease of a node is. Raises StatusError for what cannot be a node's name."""
    if not node or "/" in node:
        raise bad_request(f"Swarmkeep-Expired-Lease: {node!r} is no node's name")
    return NODE_LEASE_PREFIX + node


def renewed(node: str) -> StatusError:
    """The error for a lease that was renewed between the judgement and the write."""
    return lease_alive(node, 1.0, "it was renewed just now")


def _duration_s(raw: bytes) -> float | None:
    duration = (json.loads(raw).get("spec") or {}).get("leaseDurationSeconds")
    return float(duration) if isinstance(duration, int) and duration > 0 else None

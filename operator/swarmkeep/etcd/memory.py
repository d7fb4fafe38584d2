"""etcd's twin in memory, for tests: keeps the same contract (tests/contract/etcd) without a server.

Beyond the port it can be told to fail: `down` makes every call fail, `lose_answers` carries calls out and loses the
answer, as a broken connection does.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from swarmkeep.etcd.failures import Compacted, EtcdUnavailable, FutureRevision, LeaseGone, RequestTooLarge
from swarmkeep.etcd.records import (
    Compare,
    Delete,
    EventType,
    Get,
    KeyValue,
    Operation,
    Put,
    RangeResult,
    TxnResult,
    WatchEvent,
)

MAX_REQUEST_BYTES = 1_572_864
"""etcd's default for --max-request-bytes."""


@dataclass(slots=True)
class _Lease:
    ttl_s: int
    ends_at: float


class MemoryEtcd:
    """One store; hand the same object to several users to let them share it."""

    def __init__(self) -> None:
        self.revision = 1
        self.down = False
        self.lose_answers = 0
        """How many of the next transactions are carried out, and tried again as if no answer had come."""
        self._compacted = 0
        self._keys: dict[str, KeyValue] = {}
        self._history: list[WatchEvent] = []
        self._leases: dict[int, _Lease] = {}
        self._lease_ids = itertools.count(1)
        self._changed = asyncio.Condition()

    async def get(self, key: str) -> KeyValue | None:
        """As the port says."""
        self._enter()
        return self._keys.get(key)

    async def range(
        self, prefix: str, *, limit: int = 0, revision: int = 0, start: str = "", keys_only: bool = False
    ) -> RangeResult:
        """As the port says."""
        self._enter()
        if revision > self.revision:
            raise FutureRevision
        keys = self._keys if revision in (0, self.revision) else self._keys_at(revision)
        found = [keys[key] for key in sorted(keys) if key.startswith(prefix) and key >= start]
        shown = found[:limit] if limit else found
        if keys_only:
            shown = [replace(item, value=b"") for item in shown]
        return RangeResult(tuple(shown), self.revision, len(found), len(shown) < len(found))

    async def txn(
        self,
        compares: Sequence[Compare],
        success: Sequence[Operation],
        failure: Sequence[Operation] = (),
        *,
        timeout: float | None = None,  # noqa: ARG002 - of the port; nothing takes time here
    ) -> TxnResult:
        """As the port says."""
        self._enter()
        result = await self._apply(compares, success, failure)
        if self.lose_answers:
            self.lose_answers -= 1
            result = replace(await self._apply(compares, success, failure), repeated=True)
        return result

    async def watch(self, prefix: str, *, start_revision: int) -> AsyncGenerator[list[WatchEvent], None]:
        """As the port says."""
        next_revision = start_revision
        yield []
        while True:
            if next_revision <= self._compacted:
                raise Compacted(self._compacted)
            matching = [
                event
                for event in self._history
                if event.current.mod_revision >= next_revision and event.current.key.startswith(prefix)
            ]
            next_revision = max(next_revision, self.revision + 1)
            if matching:
                yield matching
                continue
            async with self._changed:
                if self.revision < next_revision:
                    await self._changed.wait()

    async def lease_grant(self, ttl_s: int, *, timeout: float | None = None) -> int:  # noqa: ARG002
        """As the port says."""
        self._enter()
        lease = next(self._lease_ids)
        self._leases[lease] = _Lease(ttl_s, time.monotonic() + ttl_s)
        asyncio.get_running_loop().call_later(ttl_s + 0.01, self._look_at, lease)
        return lease

    async def lease_keepalive(self, lease: int, *, timeout: float | None = None) -> int:  # noqa: ARG002
        """As the port says."""
        self._enter()
        found = self._leases.get(lease)
        if found is None or found.ends_at <= time.monotonic():
            return 0
        found.ends_at = time.monotonic() + found.ttl_s
        return found.ttl_s

    async def lease_revoke(self, lease: int) -> None:
        """As the port says."""
        self._enter()
        await self._end(lease)

    async def compact(self, revision: int) -> None:
        """As the port says."""
        self._enter()
        self._compacted = max(self._compacted, revision)
        self._history = [event for event in self._history if event.current.mod_revision > revision]

    async def close(self) -> None:
        """As the port says."""

    def _enter(self) -> None:
        if self.down:
            raise EtcdUnavailable("etcd: no member answers")

    def _look_at(self, lease: int) -> None:
        found = self._leases.get(lease)
        if found is None:
            return
        left = found.ends_at - time.monotonic()
        loop = asyncio.get_running_loop()
        if left > 0:
            loop.call_later(left + 0.01, self._look_at, lease)
        else:
            self._ending = loop.create_task(self._end(lease))

    async def _end(self, lease: int) -> None:
        if self._leases.pop(lease, None) is not None:
            await self._write([Delete(key) for key, item in self._keys.items() if item.lease == lease])

    async def _apply(
        self, compares: Sequence[Compare], success: Sequence[Operation], failure: Sequence[Operation]
    ) -> TxnResult:
        held = all(self._holds(compare) for compare in compares)
        branch = success if held else failure
        for operation in branch:
            if isinstance(operation, Put):
                if len(operation.value) + len(operation.key) > MAX_REQUEST_BYTES:
                    raise RequestTooLarge("etcd: request is too large")
                if operation.lease and operation.lease not in self._leases:
                    raise LeaseGone("etcd: requested lease not found")
        answers = await self._write(branch)
        return TxnResult(held, self.revision, answers)

    def _holds(self, compare: Compare) -> bool:
        item = self._keys.get(compare.key)
        if item is None:
            return compare.revision == 0
        return compare.revision == (item.mod_revision if compare.target == "mod" else item.create_revision)

    async def _write(self, operations: Sequence[Operation]) -> tuple[KeyValue | None, ...]:
        answers: list[KeyValue | None] = []
        revision = self.revision + 1
        for operation in operations:
            found = None
            previous = self._keys.get(operation.key)
            match operation:
                case Get(key):
                    found = self._keys.get(key)
                case Put(key, value, lease):
                    created = previous.create_revision if previous else revision
                    self._keys[key] = KeyValue(key, value, created, revision, lease)
                    self._history.append(WatchEvent(EventType.PUT, self._keys[key], previous))
                    self.revision = revision
                case Delete(key) if previous is not None:
                    del self._keys[key]
                    tombstone = KeyValue(key, b"", 0, revision)
                    self._history.append(WatchEvent(EventType.DELETE, tombstone, previous))
                    self.revision = revision
            answers.append(found)
        async with self._changed:
            self._changed.notify_all()
        return tuple(answers)

    def _keys_at(self, revision: int) -> dict[str, KeyValue]:
        if revision < self._compacted:
            raise Compacted(self._compacted)
        keys = dict(self._keys)
        for event in reversed(self._history):
            if event.current.mod_revision <= revision:
                break
            if event.previous is None:
                keys.pop(event.current.key, None)
            else:
                keys[event.current.key] = event.previous
        return keys

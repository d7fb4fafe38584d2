"""The port: what SwarmKeep needs of etcd. Kept by client.py for a real etcd and by memory.py for tests.

Every method is bounded in time and raises EtcdUnavailable when no member answered; nothing is lost by calling again,
except as `txn` says. Reads are linearizable: they see every write that was answered before they began.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from swarmkeep.etcd.records import Compare, KeyValue, Operation, RangeResult, TxnResult, WatchEvent


class Etcd(Protocol):
    """Keys in order, revisions, transactions, watches and leases."""

    async def get(self, key: str) -> KeyValue | None:
        """The key; None if there is none."""

    async def range(
        self, prefix: str, *, limit: int = 0, revision: int = 0, start: str = "", keys_only: bool = False
    ) -> RangeResult:
        """Keys that begin with `prefix`, in order, from `start` on, at most `limit`, as they were at `revision`.

        0 means no limit, and the newest revision. Raises Compacted, FutureRevision.
        """

    async def txn(
        self,
        compares: Sequence[Compare],
        success: Sequence[Operation],
        failure: Sequence[Operation] = (),
        *,
        timeout: float | None = None,
    ) -> TxnResult:
        """Carries out `success` if all compares hold, else `failure`, as one step.

        When the answer to a try was lost the call is repeated and says so (`repeated`): with at least one compare on
        what is written, a repetition cannot write twice. Raises RequestTooLarge, StorageFull, LeaseGone, and
        EtcdOutcomeUnknown instead of EtcdUnavailable when it may have been carried out.
        """

    def watch(self, prefix: str, *, start_revision: int) -> AsyncGenerator[list[WatchEvent], None]:
        """Every change from `start_revision` on, in order, with the previous values; the changes of one revision come
        together. Outlives lost connections. Raises Compacted; ends only when closed (contextlib.aclosing).

        An empty list comes each time that a member has accepted the watch.
        """

    async def lease_grant(self, ttl_s: int, *, timeout: float | None = None) -> int:
        """A new lease's id. Keys that are put with it go when it ends, `ttl_s` after it was last kept alive."""

    async def lease_keepalive(self, lease: int, *, timeout: float | None = None) -> int:
        """Renews the lease; the seconds that it has left, 0 if it is gone."""

    async def lease_revoke(self, lease: int) -> None:
        """Ends the lease at once; nothing happens if it is gone already."""

    async def compact(self, revision: int) -> None:
        """Forgets what was before `revision`. Nothing happens if that was done already."""

    async def close(self) -> None:
        """Closes all connections."""

"""A thin asyncio client of etcd over the etcd3 package's generated stubs: deadlines, fail-over between members, TLS.

Called by the API server (objects) and by the operator (leader election). Keeps the port in port.py.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from time import monotonic
from typing import Any

import grpc
import structlog
from etcd3 import etcdrpc

from swarmkeep.etcd.endpoints import Member, Members, TlsFiles
from swarmkeep.etcd.failures import (
    Compacted,
    EtcdOutcomeUnknown,
    EtcdUnavailable,
    LeaseGone,
    describe,
    failure_of,
    is_retried,
    was_never_sent,
)
from swarmkeep.etcd.messages import END_OF_STREAM, answer, compare_message, key_value, operation_message
from swarmkeep.etcd.records import Compare, KeyValue, Operation, RangeResult, TxnResult, WatchEvent, prefix_end
from swarmkeep.etcd.watching import watch

log = structlog.get_logger(__name__)

ATTEMPT_TIMEOUT_S = 1.5
"""How long one member may take over one call before the next is asked: a frozen one never says no."""
_PAUSE_S = 0.05, 1.0
"""Shortest and longest pause after every member has failed once more."""

Call = Callable[[Member, float], Awaitable[Any]]


class Client:
    """Talks to one member of the cluster at a time, and to the next when that one fails.

    `timeout` bounds each call, all tries together, in seconds. Raises InvalidObject or HostError for endpoints or TLS
    files that cannot be used; that nobody answers shows only with the first call.
    """

    def __init__(self, endpoints: Sequence[str], tls: TlsFiles | None = None, timeout: float = 5.0) -> None:
        self._members = Members(endpoints, tls)
        self._timeout = timeout

    async def get(self, key: str) -> KeyValue | None:
        """As the port says."""
        request = etcdrpc.RangeRequest(key=key.encode())
        response, _ = await self._call(lambda m, t: m.kv.Range(request, timeout=t), f"reading {key}")
        return key_value(response.kvs[0]) if response.kvs else None

    async def range(
        self, prefix: str, *, limit: int = 0, revision: int = 0, start: str = "", keys_only: bool = False
    ) -> RangeResult:
        """As the port says."""
        request = etcdrpc.RangeRequest(
            key=(start or prefix).encode(),
            range_end=prefix_end(prefix),
            limit=limit,
            revision=revision,
            keys_only=keys_only,
        )
        # A large answer may rightly take long, so only a single try's share of the time is raised, not the whole.
        response, _ = await self._call(
            lambda m, t: m.kv.Range(request, timeout=t), f"reading {prefix}*", attempt=self._timeout / 2
        )
        items = tuple(key_value(item) for item in response.kvs)
        return RangeResult(items, response.header.revision, response.count, response.more)

    async def txn(
        self,
        compares: Sequence[Compare],
        success: Sequence[Operation],
        failure: Sequence[Operation] = (),
        *,
        timeout: float | None = None,
    ) -> TxnResult:
        """As the port says."""
        request = etcdrpc.TxnRequest(
            compare=[compare_message(compare) for compare in compares],
            success=[operation_message(operation) for operation in success],
            failure=[operation_message(operation) for operation in failure],
        )
        names = ", ".join(dict.fromkeys(operation.key for operation in (*success, *failure)))
        response, repeated = await self._call(
            lambda m, t: m.kv.Txn(request, timeout=t), f"transaction on {names}", timeout=timeout, writes=True
        )
        answers = tuple(answer(message) for message in response.responses)
        return TxnResult(response.succeeded, response.header.revision, answers, repeated)

    def watch(self, prefix: str, *, start_revision: int) -> AsyncGenerator[list[WatchEvent], None]:
        """As the port says."""
        return watch(self._members, prefix, start_revision)

    async def lease_grant(self, ttl_s: int, *, timeout: float | None = None) -> int:
        """As the port says. A try whose answer was lost leaves a lease behind that ends by itself."""
        request = etcdrpc.LeaseGrantRequest(TTL=ttl_s, ID=0)
        response, _ = await self._call(
            lambda m, t: m.leases.LeaseGrant(request, timeout=t), "granting a lease", timeout=timeout
        )
        return int(response.ID)

    async def lease_keepalive(self, lease: int, *, timeout: float | None = None) -> int:
        """As the port says."""
        request = etcdrpc.LeaseKeepAliveRequest(ID=lease)

        async def renew(member: Member, seconds: float) -> Any:
            stream = member.leases.LeaseKeepAlive(iter((request,)), timeout=seconds)
            try:
                response = await stream.read()
            finally:
                stream.cancel()
            if response is END_OF_STREAM:
                raise EtcdUnavailable("etcd: the lease was neither renewed nor refused")
            return response

        response, _ = await self._call(renew, f"keeping lease {lease:x} alive", timeout=timeout)
        return int(response.TTL)

    async def lease_revoke(self, lease: int) -> None:
        """As the port says."""
        request = etcdrpc.LeaseRevokeRequest(ID=lease)
        try:
            await self._call(lambda m, t: m.leases.LeaseRevoke(request, timeout=t), f"ending lease {lease:x}")
        except LeaseGone:
            return

    async def compact(self, revision: int) -> None:
        """As the port says."""
        request = etcdrpc.CompactionRequest(revision=revision)
        try:
            await self._call(lambda m, t: m.kv.Compact(request, timeout=t), f"compacting to {revision}")
        except Compacted:
            return

    async def close(self) -> None:
        """As the port says."""
        await self._members.close()

    async def _call(
        self, call: Call, doing: str, *, timeout: float | None = None, attempt: float = 0.0, writes: bool = False
    ) -> tuple[Any, bool]:
        """The answer, and whether an earlier try may have had an effect.

        Raises EtcdOutcomeUnknown, not EtcdUnavailable, when that is so of a call that `writes` and is given up.
        """
        total = self._timeout if timeout is None else timeout
        share = min(max(attempt, ATTEMPT_TIMEOUT_S), max(total / 2, total - ATTEMPT_TIMEOUT_S))
        deadline = monotonic() + total
        repeated = False
        failures = 0
        while True:
            member = self._members.current
            left = deadline - monotonic()
            try:
                return await call(member, max(0.01, min(share, left))), repeated
            except grpc.RpcError as error:
                if not is_retried(error):
                    raise failure_of(error, doing) from error
                failure: Exception = failure_of(error, doing)
                repeated |= not was_never_sent(error)
                log.debug("etcd member failed", endpoint=member.endpoint, error=describe(error))
            except EtcdUnavailable as error:
                failure, repeated = error, True
            self._members.leave(member)
            failures += 1
            pause = self._pause(failures)
            if monotonic() + pause >= deadline:
                raise EtcdOutcomeUnknown(str(failure)) if writes and repeated else failure
            await asyncio.sleep(pause)

    def _pause(self, failures: int) -> float:
        """Nothing while there are members that have not been tried, then longer with every round."""
        rounds, rest = divmod(failures, len(self._members))
        if rest:
            return 0.0
        shortest, longest = _PAUSE_S
        return min(longest, shortest * 2.0**rounds) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, no secret

"""Leader election over an etcd lease, with a token that fences a leader's writes.

Called by the operator. Who leads holds the key `/swarmkeep/election/<name>`; the key's create revision is the token.
A write that matters compares it in its own transaction: whatever a deposed leader still has in flight then fails.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic

import structlog

from swarmkeep.errors import Unavailable
from swarmkeep.etcd.failures import LeaseGone
from swarmkeep.etcd.port import Etcd
from swarmkeep.etcd.records import Compare, EventType, Get, KeyValue, Put

log = structlog.get_logger(__name__)

ELECTION_PREFIX = "/swarmkeep/election/"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `renew + 2 * timeout + grace < ttl`: one renewal may fail, and there is still time to stop."""

    ttl: float
    renew: float
    timeout: float
    grace: float
    """What a leader needs to stop what it does, before anybody else may lead."""

    def __post_init__(self) -> None:
        """Raises ValueError for a timing with which two could lead at once."""
        if not self.renew + 2 * self.timeout + self.grace < self.ttl:
            raise ValueError(f"renew + 2 * timeout + grace must be less than ttl: {self}")


def timing_for(ttl_s: float) -> Timing:
    """A safe timing for a lease of `ttl_s` seconds."""
    return Timing(ttl=ttl_s, renew=ttl_s * 0.2, timeout=ttl_s * 0.2, grace=ttl_s * 0.2)


def fence_key(name: str) -> str:
    """The key that whoever leads `name` holds."""
    return ELECTION_PREFIX + name


class Election:
    """One candidate. `campaign` returns when it leads; when `lost` is set it leads no more, for good.

    `token` is set while it leads. The local clock decides when the lease may have run out: counted from when the last
    renewal that was answered had been sent, less the grace.
    """

    def __init__(
        self, etcd: Etcd, name: str, identity: str, ttl_s: float, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._etcd = etcd
        self._key = fence_key(name)
        self._identity = identity.encode()
        self._timing = timing_for(ttl_s)
        self._clock = clock
        self._lease = 0
        self._renewed_at = 0.0
        self._renewing: asyncio.Task[None] | None = None
        self.token: int | None = None
        self.lost = asyncio.Event()

    async def campaign(self) -> int:
        """Waits, for as long as it takes, until it leads; returns the token."""
        if self._renewing is not None:
            raise RuntimeError("a candidate campaigns once: make a new Election after a loss")
        waiting_for = b""
        while True:
            try:
                holder, revision = await self._try()
                if holder is None:
                    break
                if holder.value != waiting_for:
                    log.info("waiting for the leader to go", leader=holder.value.decode(errors="replace"))
                    waiting_for = holder.value
                await self._until_gone(revision)
            except (Unavailable, LeaseGone) as error:
                log.warning("cannot take part in the election", error=str(error))
                await asyncio.sleep(self._timing.renew)
        self._renewing = asyncio.create_task(self._renew(), name="election-renewal")
        log.info("elected", token=self.token)
        assert self.token is not None  # noqa: S101 - set by _try
        return self.token

    def compare(self) -> Compare:
        """The condition that a fenced transaction has to carry. Raises RuntimeError while it does not lead."""
        if self.token is None:
            raise RuntimeError("only who leads has a token")
        return Compare(self._key, "create", self.token)

    async def resign(self) -> None:
        """Gives up leading, so that another need not wait for the lease to run out. Never raises for a lost etcd."""
        self._lose("resigned")
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        if self._lease:
            with contextlib.suppress(Unavailable, TimeoutError):
                await asyncio.wait_for(self._etcd.lease_revoke(self._lease), self._timing.timeout)

    async def _try(self) -> tuple[KeyValue | None, int]:
        """None if it leads now, else who does; and the revision of that knowledge."""
        sent_at = self._clock()
        lease = await self._etcd.lease_grant(max(1, round(self._timing.ttl)), timeout=self._timing.timeout)
        result = await self._etcd.txn(
            [Compare(self._key, "create", 0)],
            [Put(self._key, self._identity, lease)],
            [Get(self._key)],
            timeout=self._timing.timeout,
        )
        holder = None if result.succeeded else result.answers[0]
        if holder is not None and holder.lease != lease:
            await self._etcd.lease_revoke(lease)
            return holder, result.revision
        if not result.succeeded and holder is None:
            raise LeaseGone("the lease ended while it was used")
        if self._clock() - sent_at >= self._timing.ttl - self._timing.grace:
            raise LeaseGone("etcd took as long as the lease lasts")
        # A failed compare with our own lease behind it: the answer to the first try was lost.
        self.token = holder.create_revision if holder else result.revision
        self._lease, self._renewed_at = lease, sent_at
        return None, result.revision

    async def _until_gone(self, revision: int) -> None:
        """Until the key was deleted. Gives up after a while as well: looking again costs little."""
        try:
            async with (
                asyncio.timeout(2 * self._timing.ttl),
                aclosing(self._etcd.watch(self._key, start_revision=revision + 1)) as changes,
            ):
                async for events in changes:
                    if any(e.type is EventType.DELETE and e.current.key == self._key for e in events):
                        return
        except TimeoutError:
            return

    async def _renew(self) -> None:
        limit = self._timing.ttl - self._timing.grace
        while not self.lost.is_set():
            left = self._renewed_at + limit - self._clock()
            if left <= 0:
                self._lose("the lease could not be renewed in time")
                return
            await asyncio.sleep(min(self._timing.renew, left))
            sent_at = self._clock()
            try:
                if not await self._is_still_ours(min(self._timing.timeout, self._renewed_at + limit - sent_at)):
                    self._lose("the lease or its key is gone")
                    return
                self._renewed_at = sent_at
            except (Unavailable, TimeoutError) as error:
                log.warning("cannot renew the leader's lease", error=str(error) or type(error).__name__)

    async def _is_still_ours(self, timeout: float) -> bool:
        async with asyncio.timeout(timeout):
            if await self._etcd.lease_keepalive(self._lease, timeout=timeout) <= 0:
                return False
            holder = await self._etcd.get(self._key)
        return holder is not None and holder.create_revision == self.token

    def _lose(self, why: str) -> None:
        if not self.lost.is_set():
            if self.token is not None:
                log.warning("leads no more", why=why)
            self.token = None
            self.lost.set()

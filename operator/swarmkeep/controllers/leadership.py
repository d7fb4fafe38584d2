"""The election, in a thread with an event loop of its own.

kopf cancels every task of its loop when it stops, and a loop that a bug has blocked must not keep the lease: so what
renews it shares nothing with what leads.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import structlog

from swarmkeep.errors import SwarmKeepError
from swarmkeep.etcd.election import Election
from swarmkeep.etcd.port import Etcd

log = structlog.get_logger(__name__)

ELECTION = "operator"
LOOK_S = 0.5
STUCK_S = 20.0
"""A leader whose loop has not turned for this long is as good as dead, and keeps others from leading."""
RESIGN_LIMIT_S = 3.0


class Leadership(threading.Thread):
    """One candidacy. `won` gets the token; `on_loss` is called once, from this thread, when it leads no more."""

    def __init__(
        self, connect: Callable[[], Etcd], identity: str, ttl_s: float, on_loss: Callable[[str], None]
    ) -> None:
        """`connect` makes the etcd client; it is called in this thread, since clients belong to one loop."""
        super().__init__(name="election", daemon=True)
        self.won: Future[int] = Future()
        self._connect = connect
        self._identity = identity
        self._ttl_s = ttl_s
        self._on_loss = on_loss
        self._resigning = threading.Event()
        self._beat_at: float | None = None

    def beat(self) -> None:
        """The leader's loop turns. From the first call on its silence counts."""
        self._beat_at = time.monotonic()

    def resign(self) -> None:
        """Gives up leading or running for it, and returns when that is done or has taken too long."""
        self._resigning.set()
        if self.is_alive():
            self.join(RESIGN_LIMIT_S)

    def run(self) -> None:
        """The thread."""
        try:
            asyncio.run(self._run())
        except Exception as error:
            if not self.won.done():
                self.won.set_exception(error)
            else:
                log.exception("the election failed")
                self._on_loss(f"the election failed: {error}")

    async def _run(self) -> None:
        etcd = self._connect()
        election = Election(etcd, ELECTION, self._identity, self._ttl_s)
        try:
            campaign = asyncio.create_task(election.campaign())
            while not campaign.done() and not self._resigning.is_set():
                await asyncio.wait({campaign}, timeout=LOOK_S / 5)
            if not campaign.done():
                campaign.cancel()
                await asyncio.gather(campaign, return_exceptions=True)
                self.won.cancel()
                return
            self.won.set_result(campaign.result())
            await self._reign(election)
        finally:
            try:
                await election.resign()
                await etcd.close()
            except SwarmKeepError as error:
                log.warning("could not give up the lease; it runs out by itself", error=str(error))

    async def _reign(self, election: Election) -> None:
        lost = asyncio.create_task(election.lost.wait())
        while not self._resigning.is_set():
            await asyncio.wait({lost}, timeout=LOOK_S / 5)
            if lost.done():
                self._on_loss("the leader's lease was lost")
                return
            if self._beat_at is not None and time.monotonic() - self._beat_at > STUCK_S:
                self._on_loss(f"the operator's loop has not turned for {STUCK_S:g} s")
                return
        lost.cancel()

"""The node's lease: renewed through the API for as long as this agent lives, and the clock that fencing goes by."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from swarmkeep.agent.journal import write_atomically
from swarmkeep.errors import NotFound, StorageFull, SwarmKeepError
from swarmkeep.kube.client import Client
from swarmkeep.model.kinds import LEASE, NODE_LEASE_NAMESPACE
from swarmkeep.model.wire import format_time
from swarmkeep.obs import agent_metrics as metrics

log = structlog.get_logger(__name__)


def boot_seconds() -> float:
    """Seconds since the machine started, suspension included: no jump of the wall clock can stretch a lease."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Heartbeat:
    """Renews the lease. `age` is what everybody else may believe at most: counted from when a renewal was *sent*.

    The time of the last renewal is kept in a file of the run folder, so that an agent that was restarted knows how
    long the node has been silent; a reboot empties that folder, and with it all containers that could be running.
    """

    def __init__(
        self, client: Client, node: str, lease_duration: timedelta, interval: timedelta, run_dir: Path
    ) -> None:
        self._client = client
        self._node = node
        self._lease_duration = lease_duration
        self._interval = interval
        self._file = run_dir / "lease-renewed-at"
        self._renewed_at = self._read()
        self.renewals = 0
        """Counts renewals that went through since this agent started."""
        self.renewed = asyncio.Event()
        """Set at each renewal; who waits for one clears it first."""

    @property
    def age(self) -> timedelta:
        """Time since the last renewal that went through was sent; without one, longer than any lease."""
        if self._renewed_at is None:
            return timedelta.max
        return timedelta(seconds=max(0.0, boot_seconds() - self._renewed_at))

    async def run(self) -> None:
        """Renews for ever; a renewal that fails is tried again at once, since time is short then."""
        failing = False
        while True:
            started = boot_seconds()
            try:
                await self._renew()
            except SwarmKeepError as error:
                if not failing:
                    log.warning("cannot renew the node's lease", age_seconds=self._age_seconds(), error=str(error))
                failing = True
            else:
                self._renewed_at = started
                self._remember(started)
                if failing:
                    log.info("the node's lease is renewed again")
                failing = False
                self.renewals += 1
                self.renewed.set()
            metrics.LEASE_AGE_SECONDS.set(self._age_seconds())
            pause = self._interval.total_seconds() * (0.25 if failing else 1.0)
            await asyncio.sleep(max(0.05, pause - (boot_seconds() - started)))

    async def _renew(self) -> None:
        spec: dict[str, Any] = {
            "holderIdentity": self._node,
            "leaseDurationSeconds": max(1, round(self._lease_duration.total_seconds())),
            "renewTime": format_time(datetime.now(UTC)),
        }
        try:
            await self._client.patch(LEASE, self._node, {"spec": spec}, NODE_LEASE_NAMESPACE)
        except NotFound:
            body = {
                "apiVersion": LEASE.api_version,
                "kind": LEASE.name,
                "metadata": {"name": self._node, "namespace": NODE_LEASE_NAMESPACE},
                "spec": spec,
            }
            await self._client.create(LEASE, body, NODE_LEASE_NAMESPACE)

    def _age_seconds(self) -> float:
        return -1.0 if self._renewed_at is None else round(self.age.total_seconds(), 3)

    def _remember(self, moment: float) -> None:
        try:
            write_atomically(self._file, repr(moment).encode())
        except (StorageFull, OSError) as error:
            # A restarted agent then believes the lease to be older than it is: it freezes too early, never too late.
            log.warning("cannot write down the renewal of the lease", error=str(error))

    def _read(self) -> float | None:
        try:
            return float(self._file.read_text())
        except (OSError, ValueError):
            return None

"""What is done while a container stands still for a version: its dump and a copy of its files, within one limit."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from swarmkeep.agent.freezes import Freezes, Why
from swarmkeep.agent.runtime.dump import Begun, Dumper, DumpRequest, DumpResult
from swarmkeep.errors import DumpFailed, HostError

log = structlog.get_logger(__name__)

AHEAD_LIMIT_S = 600.0
"""How long copying may take while the container runs: others wait meanwhile, unless theirs is a final version."""
STOP_COPY_S = 1.0
"""How long a copy that was told to stop may go on before the container is let go over it."""

Copy = Callable[[Callable[[], None]], object]
"""Copies a part of the container's files; calls what it is given as often as it can, which raises to end it."""


class LayerTooSlow(DumpFailed):
    """Writable layer and volumes could not be copied in the time for which the container may stand still."""

    reason = "LayerTooSlow"


class Standstill:
    """Freezes, dumps, copies and thaws."""

    def __init__(self, freezes: Freezes, dumper: Dumper) -> None:
        self._freezes = freezes
        self._dumper = dumper
        self._letting_go: asyncio.Task[None] | None = None

    async def take(self, request: DumpRequest, copies: Sequence[Copy]) -> tuple[DumpResult, datetime, float]:
        """Dumps a running container and makes the copies, all of one instant; returns that and its standstill in s.

        Raises DumpFailed, HostError, OSError, after which it runs on.
        """
        ahead: Begun | None = None
        begun = time.monotonic()

        async def beforehand() -> None:
            nonlocal ahead, begun
            if request.leave_running:
                ahead = await self._dumper.begin(request)
            begun = time.monotonic()

        try:
            await self._freezes.hold(request.container_id, request.pid, Why.VERSION, beforehand)
        except BaseException:
            if ahead is not None:
                await self._dumper.abandon(request, ahead)
            raise
        taken_at = datetime.now(UTC)
        try:
            dumped = await self._dump_and_copy(request, ahead, copies, begun)
        except BaseException:
            await self._freezes.let_go(request.container_id, request.pid, Why.VERSION)
            raise
        if request.leave_running:
            await self._freezes.let_go(request.container_id, request.pid, Why.VERSION)
        else:
            await self._let_go_of_ended(request)
        return dumped, taken_at, time.monotonic() - begun

    async def copy_ahead(self, copy: Copy) -> None:
        """Makes a copy while the container runs. Raises DumpFailed when that takes too long, and OSError."""
        too_long = (
            f"copying its volumes took longer than {AHEAD_LIMIT_S:g} s, and was given up before the container was "
            "frozen: make the staging folder faster, or leave volumes of that size out of checkpoint.volumes"
        )
        await self._copy([copy], time.monotonic() + AHEAD_LIMIT_S, too_long)

    async def _dump_and_copy(
        self, request: DumpRequest, ahead: Begun | None, copies: Sequence[Copy], begun: float
    ) -> DumpResult:
        too_long = (
            f"copying writable layer and volumes took longer than the {request.max_freeze_s:g} s that "
            "checkpoint.maxFreeze allows together with the dump, and was given up; the container runs on. Allow more, "
            "make the staging folder faster, or let the container write less to what a version takes along"
        )
        if not request.leave_running:
            # The files first: after a final dump there may soon be no container left to read them from.
            await self._copy(copies, begun + request.max_freeze_s, too_long)
            return await self._dumper.dump(replace(request, stood_still_s=time.monotonic() - begun))
        copying = asyncio.ensure_future(self._copy(copies, begun + request.max_freeze_s, too_long))
        try:
            dumped = await self._dumper.dump(request, ahead)
        except BaseException:
            # The container stands still until nobody reads its files any more.
            copying.cancel()
            await asyncio.wait({copying})
            copying.add_done_callback(lambda future: future.cancelled() or future.exception())
            raise
        await copying
        return dumped

    async def _let_go_of_ended(self, request: DumpRequest) -> None:
        """Thaws what a final dump has killed, so that it dies. Never raises: the version is there whatever happens."""

        async def let_go() -> None:
            try:
                await self._freezes.let_go(request.container_id, request.pid, Why.VERSION)
            except HostError as error:
                log.error("cannot thaw a container that its final version has ended", error=str(error))

        self._letting_go = asyncio.create_task(let_go())
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({self._letting_go})

    async def _copy(self, copies: Sequence[Copy], until: float, too_long: str) -> None:
        """Makes the copies, and stops in the middle when the time is over."""
        stopped = threading.Event()

        def check() -> None:
            if stopped.is_set() or time.monotonic() > until:
                raise LayerTooSlow(too_long)

        def copy() -> None:
            for each in copies:
                each(check)

        copying = asyncio.ensure_future(asyncio.to_thread(copy))
        try:
            async with asyncio.timeout(until + STOP_COPY_S - time.monotonic()):
                await asyncio.shield(copying)
        except (TimeoutError, asyncio.CancelledError) as error:
            stopped.set()
            await asyncio.wait({copying}, timeout=STOP_COPY_S)
            # Whoever gave up has the word; what the thread says later is of no interest.
            copying.add_done_callback(lambda future: future.cancelled() or future.exception())
            if isinstance(error, TimeoutError):
                check()
            raise

"""Ends a restore whose node has lost its lease meanwhile, before the process that it makes runs.

While CRIU works everything that it makes is in the container's cgroup and none of it runs the container's program: that
begins with CRIU's last step. So whoever is ended in time has never run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog

from swarmkeep.agent.shim_server import Conversation

log = structlog.get_logger(__name__)

TICK_S = 0.05


async def outcome_within_lease(
    conversation: Conversation, is_lost: Callable[[], bool], end: Callable[[], Awaitable[None]]
) -> tuple[dict[str, Any], bool]:
    """How a restore went, and whether it was ended because the lease was lost.

    `end` is called until the shim says how it went, since CRIU may just be making another process. Raises ShimGone.
    """
    waiting = asyncio.ensure_future(conversation.outcome())
    ended = False
    try:
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=TICK_S)
            if done:
                return waiting.result(), ended
            if is_lost():
                if not ended:
                    log.warning("the lease ran out during a restore: ending it", container=conversation.container_id)
                ended = True
                await end()
    finally:
        waiting.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await waiting

"""Keeps etcd's history short: without this every version of every object would stay for ever, until etcd is full.

Runs in every server. Servers need not agree: compacting to a revision that is compacted already does nothing.
"""

from __future__ import annotations

import asyncio

import structlog

from swarmkeep.errors import SwarmKeepError
from swarmkeep.etcd.port import Etcd

log = structlog.get_logger(__name__)

KEPT_S = 600.0
"""How far back lists can be continued, and watches resumed by a server that starts."""
INTERVAL_S = 300.0


async def compact(etcd: Etcd, *, kept_s: float = KEPT_S, interval_s: float = INTERVAL_S) -> None:
    """For ever: notes where history is, and drops what was there `kept_s` before."""
    loop = asyncio.get_running_loop()
    notes: list[tuple[float, int]] = []
    while True:
        try:
            notes.append((loop.time(), (await etcd.range("/registry/", limit=1, keys_only=True)).revision))
            old = [revision for at, revision in notes if loop.time() - at >= kept_s]
            if old:
                await etcd.compact(old[-1])
                notes = [note for note in notes if note[1] >= old[-1]]
        except SwarmKeepError as error:
            # Nothing is lost: what is not dropped now is dropped the next time.
            log.warning("cannot compact etcd's history", error=str(error))
        await asyncio.sleep(interval_s)

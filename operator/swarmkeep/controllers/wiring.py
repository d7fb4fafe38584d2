"""The whole of our kopf: what it watches, how it connects, and which settings it needs.

kopf brings watches that outlive everything; its handlers here are one line each and cannot fail. What has to be done
about a change is worked out elsewhere, by keys (queue.py), since kopf never repeats an event handler that failed.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import kopf

from swarmkeep.controllers.cache import KINDS, Cache
from swarmkeep.model.kinds import GROUP, Kind

REQUEST_LIMIT_S = 30.0
WATCH_LIMIT_S = 300
"""A watch is renewed this often even when nothing seems wrong with it."""


class EndlessBackoffs:
    """Pauses between kopf's tries of one request, in seconds.

    Endless, and without a length: when kopf runs out of them its watchers die, one after the other.
    """

    def __iter__(self) -> Iterator[float]:
        yield from (0.1, 0.2, 0.5)
        while True:
            yield 1.0


def build_registry(
    cache: Cache,
    connect: Callable[[], Awaitable[kopf.ConnectionInfo]],
    start: Callable[[], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
) -> kopf.OperatorRegistry:
    """Handlers for every kind; `start` runs before the first watch, `stop` after the last."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await connect()

    @kopf.on.startup(registry=registry)
    async def startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        adjust(settings)
        await start()

    @kopf.on.cleanup(registry=registry)
    async def cleanup(**_: Any) -> None:
        await stop()

    for kind in KINDS:
        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)(_taker(cache, kind))
    return registry


def _taker(cache: Cache, kind: Kind) -> Callable[..., Awaitable[None]]:
    async def take(type: str | None, event: Any, **_: Any) -> None:
        (cache.remove if type == "DELETED" else cache.apply)(kind, event["object"])

    return take


def quieten() -> None:
    """kopf logs every try of every watch while the API is away; the leader says that once, in its own words."""
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("kopf._cogs.clients").setLevel(logging.CRITICAL)


def adjust(settings: kopf.OperatorSettings) -> None:
    """What kopf has to know of us."""
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.networking.request_timeout = REQUEST_LIMIT_S
    settings.watching.server_timeout = WATCH_LIMIT_S
    settings.persistence.finalizer = f"{GROUP}/operator"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP, key="last-handled")
    settings.persistence.consistency_timeout = 0.5
    settings.execution.max_workers = 2

"""GET with watch=true: what happened to a collection, as a stream of JSON lines.

Never answers 4xx for what lies in the past: some clients end themselves then. What is too old comes as an ERROR line.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiohttp import web

from swarmkeep.apiserver import codec
from swarmkeep.apiserver.answers import render_object
from swarmkeep.apiserver.call import Call, flag, integer
from swarmkeep.apiserver.history import Change, Expired, Subscription, watch_line
from swarmkeep.apiserver.keys import REGISTRY_PREFIX, collection_of
from swarmkeep.apiserver.listing import Selection, list_page, selection_of
from swarmkeep.apiserver.negotiation import Form, Wanted
from swarmkeep.apiserver.services import Services
from swarmkeep.apiserver.status_errors import failure
from swarmkeep.errors import Unavailable
from swarmkeep.obs import apiserver_metrics as metrics

BOOKMARK_S = 50.0
"""kopf takes a stream for dead after 70 s of silence."""
DEFAULT_DURATION_S = 1800, 3600
MAX_DURATION_S = 24 * 3600
WRITE_TIMEOUT_S = 30.0
"""A client that takes nothing for so long is cut off."""
_INITIAL_EVENTS_END = {"k8s.io/initial-events-end": "true"}


class Watch:
    """One stream."""

    def __init__(self, services: Services, call: Call, wanted: Wanted) -> None:
        self._services = services
        self._call = call
        self._wanted = wanted
        self._selection: Selection = selection_of(call)
        self._after = integer(call.query, "resourceVersion")
        self._bookmarks = flag(call.query, "allowWatchBookmarks")
        self._send_initial = flag(call.query, "sendInitialEvents")
        # Computed here so that a parameter that makes no sense is answered before the stream begins.
        self._duration = _duration(integer(call.query, "timeoutSeconds"))
        self._columns_sent = False

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Streams until the client goes, the time is over, or the server stops."""
        if not self._services.hub.ready.is_set():
            raise Unavailable("the server does not follow etcd yet: try again")
        initial = self._send_initial or not self._after
        first: list[bytes] = []
        if initial:
            page = await list_page(self._services, self._call)
            first = [self._line("ADDED", obj) for obj in page.objects()]
            self._after = page.position.revision
        elif self._after > self._services.history.revision:
            now = (await self._services.etcd.range(REGISTRY_PREFIX, limit=1, keys_only=True)).revision
            if self._after > now:
                first = [_error_line(Expired(self._after, now))]
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache"})
        await response.prepare(request)
        metrics.WATCHERS.inc()
        try:
            # A client that is gone needs no end of its stream.
            with suppress(ConnectionError, TimeoutError):
                await self._stream(response, first, failed=not initial and bool(first))
        finally:
            metrics.WATCHERS.dec()
        return response

    async def _stream(self, response: web.StreamResponse, first: Sequence[bytes], *, failed: bool) -> None:
        await _write(response, first)
        if failed:
            return
        try:
            subscription = self._services.history.subscribe(collection_of(self._call.resource), self._after)
        except Expired as error:
            await _write(response, [_error_line(error)])
            return
        try:
            if self._send_initial and self._bookmarks:
                await _write(response, [self._bookmark(self._after, _INITIAL_EVENTS_END)])
            await self._follow(response, subscription)
        except Expired as error:
            await _write(response, [_error_line(error)])
        finally:
            subscription.close()

    async def _follow(self, response: web.StreamResponse, subscription: Subscription) -> None:
        now = asyncio.get_running_loop().time
        ends_at = now() + self._duration
        bookmark_at = now() + BOOKMARK_S
        while True:
            changes: list[Change] | None = []
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(ends_at, bookmark_at)):
                    changes = await subscription.next()
            if changes is None:
                return
            lines = [line for change in changes if (line := self._line_of(change))]
            if now() >= bookmark_at:
                bookmark_at = now() + BOOKMARK_S
                if self._bookmarks and self._wanted.form is not Form.TABLE:
                    lines.append(self._bookmark(subscription.catch_up() if not changes else subscription.revision))
            await _write(response, lines)
            if now() >= ends_at:
                return

    def _line_of(self, change: Change) -> bytes | None:
        """The change as this client sees it; None if it does not concern it."""
        key = change.key
        if self._call.namespace and key.namespace != self._call.namespace:
            return None
        if self._selection.name and key.name != self._selection.name:
            return None
        if self._selection.everything:
            return change.line() if self._plain else self._line(change.type, codec.stamp(change.raw, change.revision))
        previous = change.previous_obj()
        before = previous is not None and self._selection(previous)
        now = change.type != "DELETED" and self._selection(change.obj())
        if now and (before == (change.type == "MODIFIED")):
            return change.line() if self._plain else self._line(change.type, codec.stamp(change.raw, change.revision))
        if now:
            return self._line("MODIFIED" if before else "ADDED", codec.stamp(change.raw, change.revision))
        if before and change.previous is not None:
            return self._line("DELETED", codec.stamp(change.previous, change.revision))
        return None

    @property
    def _plain(self) -> bool:
        return self._wanted.form is Form.OBJECT

    def _line(self, type_: str, obj: bytes) -> bytes:
        rendered = render_object(self._call.resource, obj, self._wanted, columns=not self._columns_sent)
        self._columns_sent = True
        return watch_line(type_, rendered)

    def _bookmark(self, revision: int, annotations: dict[str, str] | None = None) -> bytes:
        metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        resource = self._call.resource
        kind, api_version = resource.kind, resource.api_version
        if self._wanted.form is Form.METADATA:
            kind, api_version = "PartialObjectMetadata", "meta.k8s.io/v1"
        return watch_line("BOOKMARK", codec.dump({"kind": kind, "apiVersion": api_version, "metadata": metadata}))


def _duration(asked: int) -> float:
    """Seconds; without a wish at random, so that the streams of a restart do not end together."""
    return float(min(asked, MAX_DURATION_S)) if asked else random.uniform(*DEFAULT_DURATION_S)  # noqa: S311


def _error_line(error: Expired) -> bytes:
    return watch_line("ERROR", codec.dump(failure(410, "Expired", str(error))))


async def _write(response: web.StreamResponse, lines: Sequence[bytes]) -> None:
    if lines:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await response.write(b"".join(lines))

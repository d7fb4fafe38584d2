"""Posts Kubernetes Events: the story of an object in the order in which a person would tell it.

Recording never waits and never fails: events are put in a bounded queue and posted in the background, again and again
until the API takes them. Equal events become one with a count, under a name that follows from what it says, so that
nothing is told twice after a crash.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from swarmkeep.errors import SwarmKeepError, Unavailable
from swarmkeep.kube.answers import AlreadyExists, ApiNotFound
from swarmkeep.kube.backoff import Backoff
from swarmkeep.kube.client import Client, Obj
from swarmkeep.model.kinds import EVENT
from swarmkeep.model.wire import format_time

_log = logging.getLogger(__name__)

QUEUE_LIMIT = 1000
"""Different events that wait while the API is away; the oldest are dropped beyond that."""

MESSAGE_LIMIT = 1024
"""Characters of a message that Kubernetes accepts."""


class EventKind(StrEnum):
    """Whether a person should look."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class _Pending:
    """Equal events that wait to be posted."""

    body: Obj
    count: int
    first: datetime
    last: datetime


class EventRecorder:
    """Takes events with `record`, posts them in `run`."""

    def __init__(
        self,
        client: Client,
        component: str,
        instance: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`component` is the daemon (`swarmkeep-agent`), `instance` the node that it runs on."""
        self._client = client
        self._component = component
        self._instance = instance
        self._now = now
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._something = asyncio.Event()
        self.dropped = 0
        """Events lost because too many waited."""

    def record(self, about: Mapping[str, Any], kind: EventKind | str, reason: str, message: str) -> None:
        """Tells that something happened to the object `about` (which needs apiVersion, kind and metadata)."""
        body = self._body(about, EventKind(kind), reason, message)
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        self._put(key, _Pending(body, 1, self._now(), self._now()))

    @property
    def waiting(self) -> int:
        """Different events that are not posted yet."""
        return len(self._pending)

    async def run(self) -> None:
        """Posts for ever, oldest first; ends only by cancellation."""
        pauses = Backoff(0.2, 5.0)
        while True:
            await self._something.wait()
            try:
                await self.flush()
            except Unavailable:
                await asyncio.sleep(pauses.next_s())
            else:
                pauses.reset()

    async def flush(self) -> None:
        """Posts what waits. Raises Unavailable, keeping what could not be posted."""
        while self._pending:
            key = next(iter(self._pending))
            pending = self._pending.pop(key)
            try:
                await self._post(key, pending)
            except (Unavailable, asyncio.CancelledError):
                newer = self._pending.pop(key, None)
                # Back to the front, together with what was said meanwhile.
                self._pending = {key: _together(pending, newer), **self._pending}
                raise
            except SwarmKeepError as error:
                # Refused for good (a missing namespace, a role): nobody is helped by trying for ever.
                _log.warning("an event of %s was refused: %s", pending.body["involvedObject"].get("name"), error)
        self._something.clear()

    def _put(self, key: tuple[str, str], new: _Pending) -> None:
        waiting = self._pending.get(key)
        self._pending[key] = new if waiting is None else _together(waiting, new)
        if len(self._pending) > QUEUE_LIMIT:
            del self._pending[next(iter(self._pending))]
            self.dropped += 1
        self._something.set()

    async def _post(self, key: tuple[str, str], pending: _Pending) -> None:
        namespace, name = key
        times = {"lastTimestamp": format_time(pending.last.replace(microsecond=0))}
        first = {"firstTimestamp": format_time(pending.first.replace(microsecond=0)), "count": pending.count}
        for _ in range(3):
            try:
                known = await self._client.get(EVENT, name, namespace)
            except ApiNotFound:
                try:
                    await self._client.create(EVENT, {**pending.body, **first, **times}, namespace)
                except AlreadyExists:
                    continue
                return
            count = int(known.get("count") or 1) + pending.count
            try:
                await self._client.patch(EVENT, name, {"count": count, **times}, namespace)
            except ApiNotFound:
                continue  # it expired between the two calls
            return

    def _body(self, about: Mapping[str, Any], kind: EventKind, reason: str, message: str) -> Obj:
        metadata = about["metadata"]
        namespace = metadata.get("namespace") or "default"
        message = message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"
        said = "\0".join(
            (str(metadata.get("uid")), about["kind"], kind, reason, message, self._component, self._instance)
        )
        digest = hashlib.blake2b(said.encode(), digest_size=8).hexdigest()
        involved = {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": metadata.get("namespace"),
            "uid": metadata.get("uid"),
            "resourceVersion": metadata.get("resourceVersion"),
        }
        return {
            "metadata": {"name": f"{metadata['name'][:230].rstrip('-.')}.{digest}", "namespace": namespace},
            "involvedObject": {field: value for field, value in involved.items() if value},
            "type": str(kind),
            "reason": reason,
            "message": message,
            "source": {"component": self._component, "host": self._instance},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
        }


def _together(older: _Pending, newer: _Pending | None) -> _Pending:
    if newer is None:
        return older
    return replace(older, count=older.count + newer.count, last=newer.last)

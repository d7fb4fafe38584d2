"""A local copy of all objects that match a question, kept true by list and watch. Used by agent and operator.

While the API is away the copy stays as it was last seen: `age_s` says how old it may be, and the caller decides what
that means.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from types import MappingProxyType

from swarmkeep.errors import SwarmKeepError
from swarmkeep.kube.answers import Gone
from swarmkeep.kube.backoff import Backoff
from swarmkeep.kube.client import Client, EventType, Obj, WatchEvent
from swarmkeep.kube.transport import SILENCE_LIMIT_S
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import Kind

_GOOD_WHILE_S = 5.0
"""A stream that lived this long shows that the API is well; the next one is opened without a long pause."""

_log = logging.getLogger(__name__)

OnChange = Callable[[Ref, Obj | None, Obj | None], None]
"""Called with an object's address, what it was and what it is; None stands for "not there"."""


def ref_of(obj: Obj) -> Ref:
    """The address of an object; the namespace of a cluster-scoped one is empty."""
    metadata = obj["metadata"]
    return Ref(metadata.get("namespace") or "", metadata["name"])


class Mirror:
    """Objects of one kind as the API last showed them. `run` keeps it true until it is cancelled.

    `on_change` is called in the event loop for every object that came, changed or went, also when that happened while
    nobody was connected. It must be quick and must not raise: an exception from it ends `run`.
    """

    def __init__(
        self,
        client: Client,
        kind: Kind,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        on_change: OnChange | None = None,
        *,
        silence_limit_s: float = SILENCE_LIMIT_S,
    ) -> None:
        self._client = client
        self._kind = kind
        self._namespace = namespace
        self._labels = labels
        self._fields = fields
        self._on_change = on_change
        self._silence_limit_s = silence_limit_s
        self._objects: dict[Ref, Obj] = {}
        self._version = ""
        self._heard_at: float | None = None
        self._first_list = asyncio.Event()
        self._complaint = ""
        self.connected = False
        """Whether a watch is open now."""

    @property
    def objects(self) -> Mapping[Ref, Obj]:
        """All objects, a live read-only view; whoever changes an object in it makes the copy untrue."""
        return MappingProxyType(self._objects)

    @property
    def synced(self) -> bool:
        """Whether the objects were listed at least once, so that absence means something."""
        return self._first_list.is_set()

    @property
    def age_s(self) -> float:
        """Seconds since the API was last heard; infinite before the first list.

        Up to 60 while all is well and nothing happens: that often the API says that it is still there.
        """
        return float("inf") if self._heard_at is None else time.monotonic() - self._heard_at

    def get(self, name: str, namespace: str = "") -> Obj | None:
        """The object, or None."""
        return self._objects.get(Ref(namespace, name))

    async def wait_synced(self) -> None:
        """Returns once the objects were listed; bound it with asyncio.timeout."""
        await self._first_list.wait()

    async def run(self) -> None:
        """Lists and watches for ever. Ends only by cancellation or by an exception of `on_change`."""
        pauses = Backoff(0.2, 5.0)
        while True:
            started = time.monotonic()
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except Gone:
                self._version = ""
            except SwarmKeepError as error:
                # Forbidden and NotFound too: roles are granted and servers are upgraded while agents run.
                self._complain(error)
            finally:
                self.connected = False
            if time.monotonic() - started > _GOOD_WHILE_S:
                pauses.reset()
            await asyncio.sleep(pauses.next_s())

    async def _list(self) -> None:
        listed = await self._client.list(self._kind, self._namespace, labels=self._labels, fields=self._fields)
        fresh = {ref_of(obj): obj for obj in listed.items}
        self._heard(listed.resource_version)
        self._first_list.set()
        for ref in [ref for ref in self._objects if ref not in fresh]:
            self._set(ref, None)
        for ref, obj in fresh.items():
            self._set(ref, obj)

    async def _watch(self) -> None:
        stream = self._client.watch(
            self._kind,
            self._namespace,
            labels=self._labels,
            fields=self._fields,
            resource_version=self._version,
            silence_limit_s=self._silence_limit_s,
            on_open=self._opened,
        )
        async with aclosing(stream):
            async for event in stream:
                if _older(event.resource_version, self._version):
                    raise Gone(f"the API went back from {self._version} to {event.resource_version}")
                self._take(event)
                self._heard(event.resource_version)

    def _opened(self) -> None:
        self.connected = True
        self._heard(self._version)
        if self._complaint:
            _log.info("%s are watched again", self._kind.plural)
        self._complaint = ""

    def _take(self, event: WatchEvent) -> None:
        if event.type is EventType.BOOKMARK:
            return
        self._set(ref_of(event.object), None if event.type is EventType.DELETED else event.object)

    def _set(self, ref: Ref, new: Obj | None) -> None:
        old = self._objects.get(ref)
        if new is None:
            self._objects.pop(ref, None)
        else:
            self._objects[ref] = new
        same = old == new if old is None or new is None else _identity(old) == _identity(new)
        if not same and self._on_change is not None:
            self._on_change(ref, old, new)

    def _heard(self, version: str) -> None:
        self._version = version
        self._heard_at = time.monotonic()

    def _complain(self, error: SwarmKeepError) -> None:
        """One line in the log when trouble begins or changes, not one for each attempt."""
        if str(error) != self._complaint:
            _log.warning(
                "%s cannot be watched, the last known %d stay: %s", self._kind.plural, len(self._objects), error
            )
        self._complaint = str(error)


def _identity(obj: Obj) -> tuple[object, object]:
    """What makes two reads of an object the same; the uid differs when it was deleted and made anew."""
    metadata = obj["metadata"]
    return metadata.get("uid"), metadata.get("resourceVersion")


def _older(version: str, than: str) -> bool:
    """Whether the store went back in time, as after a restore of etcd from a backup: what is known is then untrue.

    Versions are opaque by contract; those that are no numbers are never older.
    """
    return version.isdigit() and than.isdigit() and int(version) < int(than)

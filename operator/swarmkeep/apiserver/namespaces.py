"""Namespaces: those that are always there, what is known of the others, and the guard of new objects in them.

`Namespaces` is a view of the hub, so that creating an object costs no extra read; the object's own transaction compares
the namespace's revision, so that nothing is ever made in one that is going away.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from swarmkeep.apiserver import codec
from swarmkeep.apiserver.call import utc_now
from swarmkeep.apiserver.guards import Guard
from swarmkeep.apiserver.status_errors import StatusError, namespace_not_found
from swarmkeep.etcd.port import Etcd
from swarmkeep.etcd.records import Compare, EventType, KeyValue, Put, WatchEvent
from swarmkeep.model.kinds import NAMESPACE, NODE_LEASE_NAMESPACE
from swarmkeep.model.wire import format_time

NAMESPACE_PREFIX = f"/registry/core/{NAMESPACE.plural}/"
PERMANENT = ("default", "kube-system", NODE_LEASE_NAMESPACE)
"""Made at start, and never deleted."""


@dataclass(frozen=True, slots=True)
class _Known:
    revision: int
    terminating: bool


class Namespaces:
    """What this server knows of the namespaces."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    async def load(self, etcd: Etcd) -> None:
        """Reads all namespaces."""
        found = await etcd.range(NAMESPACE_PREFIX)
        self._known = {_name(item.key): _known(item) for item in found.items}

    def observe(self, event: WatchEvent) -> None:
        """Takes in one change."""
        if not event.current.key.startswith(NAMESPACE_PREFIX):
            return
        name = _name(event.current.key)
        before = self._known.get(name)
        if before and before.revision >= event.current.mod_revision:
            return
        if event.type is EventType.DELETE:
            self._known.pop(name, None)
        else:
            self._known[name] = _known(event.current)

    def terminating(self) -> list[str]:
        """Those that are being deleted."""
        return [name for name, known in self._known.items() if known.terminating]

    async def guard(self, etcd: Etcd, name: str, *, fresh: bool) -> Guard:
        """The compare that a new object's transaction needs; `fresh` looks into etcd whatever is known.

        Raises StatusError when nothing can be made there.
        """
        known = self._known.get(name)
        if fresh or known is None or known.terminating:
            item = await etcd.get(NAMESPACE_PREFIX + name) if "/" not in name else None
            if item is None:
                raise namespace_not_found(name)
            known = _known(item)
        if known.terminating:
            message = f"unable to create new content in namespace {name} because it is being terminated"
            raise StatusError(403, "Forbidden", message, {"name": name, "kind": "namespaces"})
        return Guard(Compare(NAMESPACE_PREFIX + name, "mod", known.revision), namespace_not_found(name))


async def ensure_permanent(etcd: Etcd) -> None:
    """Makes the permanent namespaces that are not there."""
    for name in PERMANENT:
        key = NAMESPACE_PREFIX + name
        await etcd.txn([Compare(key, "mod", 0)], [Put(key, codec.encode(_new(name)))])


def _new(name: str) -> dict[str, Any]:
    return {
        "apiVersion": NAMESPACE.api_version,
        "kind": NAMESPACE.name,
        "metadata": {
            "name": name,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": format_time(utc_now().replace(microsecond=0)),
            "generation": 1,
            "labels": {"kubernetes.io/metadata.name": name},
        },
        "spec": {},
        "status": {"phase": "Active"},
    }


def _name(key: str) -> str:
    return key.removeprefix(NAMESPACE_PREFIX)


def _known(item: KeyValue) -> _Known:
    return _Known(item.mod_revision, "deletionTimestamp" in json.loads(item.value)["metadata"])

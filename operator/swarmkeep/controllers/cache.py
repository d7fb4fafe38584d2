"""The operator's copy of all objects that it decides about, with the few indices that decisions need.

Fed by kopf's events, by relists (which catch deletions that happened while nobody was connected) and by the answers to
our own writes. An object never goes back to an older version of itself, whatever order these arrive in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from swarmkeep.model.checkpoint import Result
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT, LEASE, LOCATION, MIGRATION, NODE, POLICY, RESTORE, WORKLOAD, Kind
from swarmkeep.model.migration import parse_migration
from swarmkeep.model.wire import section

Obj = Mapping[str, Any]
OnChange = Callable[[Kind, Ref, Obj | None, Obj | None], None]
"""Called with what an object was and what it is; None stands for "not there"."""

KINDS = (POLICY, WORKLOAD, CHECKPOINT, NODE, LOCATION, LEASE, MIGRATION, RESTORE)

_ACTIVE = frozenset({"Pending", "Dumping", "Storing", "Deleting"})
_FINISHED = frozenset({"Stored", "Replicated"})


def ref_of(obj: Obj) -> Ref:
    """The address of an object; the namespace of a cluster-scoped one is empty."""
    metadata = obj["metadata"]
    return Ref(metadata.get("namespace") or "", metadata["name"])


def version_of(obj: Obj) -> int:
    """An object's resource version as a number: revisions of the store, which grow over all objects together."""
    text = str(obj["metadata"].get("resourceVersion") or "0")
    return int(text) if text.isdigit() else 0


class Cache:
    """Objects by kind and address. Treat them as read-only."""

    def __init__(self, on_change: OnChange | None = None) -> None:
        self.on_change = on_change
        self._objects: dict[Kind, dict[Ref, Obj]] = {kind: {} for kind in KINDS}
        self._by_workload: dict[Ref, set[Ref]] = {}
        self._by_policy: dict[Ref, set[Ref]] = {}
        self._by_service: dict[str, set[Ref]] = {}
        self._by_claim: dict[str, set[Ref]] = {}
        self._active: dict[str, set[Ref]] = {}
        self._damaged: dict[Ref, set[Ref]] = {}
        self._totals: dict[str, tuple[int, int]] = {}
        self._migrations: dict[Ref, set[Ref]] = {}

    def all(self, kind: Kind) -> Mapping[Ref, Obj]:
        """All objects of a kind: a live, read-only view."""
        return MappingProxyType(self._objects[kind])

    def get(self, kind: Kind, ref: Ref) -> Obj | None:
        """The object, or None."""
        return self._objects[kind].get(ref)

    def checkpoints_of(self, workload: Ref) -> list[Obj]:
        """All versions of a workload."""
        return [self._objects[CHECKPOINT][ref] for ref in self._by_workload.get(workload, ())]

    def migrations_of(self, workload: Ref) -> list[Obj]:
        """All migrations of a workload, those that have ended included."""
        return [self._objects[MIGRATION][ref] for ref in self._migrations.get(workload, ())]

    def open_migrations_of(self, workload: Ref) -> list[Ref]:
        """Addresses of the migrations of a workload that have not ended."""
        found = [obj for obj in self.migrations_of(workload) if is_under_way(obj)]
        return [ref_of(obj) for obj in found]

    def workloads_of_policy(self, policy: Ref) -> list[Obj]:
        """All workloads that name this policy."""
        return [self._objects[WORKLOAD][ref] for ref in self._by_policy.get(policy, ())]

    def workloads_of_service(self, service_id: str) -> set[Ref]:
        """Addresses of the workloads of a Swarm service."""
        return set(self._by_service.get(service_id, ()))

    def workloads_claimed_by(self, node: str) -> set[Ref]:
        """Addresses of the workloads whose claim a node holds."""
        return set(self._by_claim.get(node, ()))

    def checkpoints_active_on(self, node: str) -> set[Ref]:
        """Addresses of the versions that a node has something to do for."""
        return set(self._active.get(node, ()))

    def damaged(self) -> dict[Ref, int]:
        """How many versions of each workload were found damaged; workloads without any are not named."""
        return {workload: len(found) for workload, found in list(self._damaged.items())}

    def services(self) -> set[str]:
        """Ids of all services that have workloads."""
        return set(self._by_service)

    def totals(self, location: str) -> tuple[int, int]:
        """How many finished versions a location holds, and their bytes."""
        return self._totals.get(location, (0, 0))

    def apply(self, kind: Kind, obj: Obj) -> None:
        """Takes an object as some answer or event showed it, unless a newer one is known."""
        ref = ref_of(obj)
        known = self._objects[kind].get(ref)
        if known is None or version_of(obj) > version_of(known):
            self._set(kind, ref, obj)

    def remove(self, kind: Kind, obj: Obj) -> None:
        """Takes a deletion, unless an object was made under that name since."""
        ref = ref_of(obj)
        known = self._objects[kind].get(ref)
        if known is not None and version_of(known) <= version_of(obj):
            self._set(kind, ref, None)

    def vanish(self, kind: Kind, ref: Ref) -> None:
        """The API says that there is no such object."""
        if ref in self._objects[kind]:
            self._set(kind, ref, None)

    def replace_all(self, kind: Kind, objects: Iterable[Obj], version: int) -> int:
        """Takes a whole list as of `version`; returns how many objects were gone that nobody had reported.

        Objects newer than the list were made after it and stay.
        """
        listed = set()
        for obj in objects:
            listed.add(ref_of(obj))
            self.apply(kind, obj)
        ghosts = [ref for ref, obj in self._objects[kind].items() if ref not in listed and version_of(obj) <= version]
        for ref in ghosts:
            self._set(kind, ref, None)
        return len(ghosts)

    def _set(self, kind: Kind, ref: Ref, new: Obj | None) -> None:
        old = self._objects[kind].get(ref)
        if new is None:
            self._objects[kind].pop(ref, None)
        else:
            self._objects[kind][ref] = new
        if kind is WORKLOAD:
            self._index_workload(ref, old, new)
        elif kind is CHECKPOINT:
            self._index_checkpoint(ref, old, new)
        elif kind is MIGRATION:
            for obj, change in ((old, _discard), (new, _add)):
                if obj is not None:
                    change(self._migrations, parse_migration(obj).workload_ref, ref)
        if self.on_change is not None:
            self.on_change(kind, ref, old, new)

    def _index_workload(self, ref: Ref, old: Obj | None, new: Obj | None) -> None:
        for obj, change in ((old, _discard), (new, _add)):
            if obj is None:
                continue
            spec = section(obj, "spec")
            change(self._by_policy, Ref(ref.namespace, spec["policy"]), ref)
            service_id = section(spec, "service").get("id")
            if service_id:
                change(self._by_service, service_id, ref)
            change(self._by_claim, section(obj, "status", "claim").get("node") or "", ref)

    def _index_checkpoint(self, ref: Ref, old: Obj | None, new: Obj | None) -> None:
        for obj, change, sign in ((old, _discard, -1), (new, _add, 1)):
            if obj is None:
                continue
            status = section(obj, "status")
            change(self._by_workload, Ref(ref.namespace, section(obj, "spec")["workload"]), ref)
            if status.get("phase") in _ACTIVE or is_incomplete(obj):
                change(self._active, status.get("node", ""), ref)
            verifier = section(status, "verification").get("node")
            if verifier:
                change(self._active, verifier, ref)
            if section(status, "verified").get("result") == Result.DAMAGED:
                change(self._damaged, Ref(ref.namespace, section(obj, "spec")["workload"]), ref)
            for location, stored in held(obj):
                count, size = self._totals.get(location, (0, 0))
                self._totals[location] = (count + sign, size + sign * stored)


def held(checkpoint: Obj) -> list[tuple[str, int]]:
    """The locations that have a finished version, and how many bytes were written to each for it."""
    status = section(checkpoint, "status")
    if status.get("phase") not in _FINISHED:
        return []
    listed = status.get("locations")
    if listed is None:
        return [(status.get("location", ""), section(status, "bytes").get("stored", 0))]
    return [(item["name"], item.get("bytes", 0)) for item in listed if item["state"] == "Stored"]


def is_under_way(migration: Obj) -> bool:
    """Whether a migration has not ended yet."""
    return section(migration, "status").get("phase") not in ("Done", "Failed")


def is_incomplete(checkpoint: Obj) -> bool:
    """Whether some location still lacks a finished version."""
    status = section(checkpoint, "status")
    listed = status.get("locations") or ()
    return status.get("phase") == "Stored" and any(item["state"] != "Stored" for item in listed)


def _add(index: dict[Any, set[Ref]], key: Any, ref: Ref) -> None:
    index.setdefault(key, set()).add(ref)


def _discard(index: dict[Any, set[Ref]], key: Any, ref: Ref) -> None:
    found = index.get(key)
    if found is not None:
        found.discard(ref)
        if not found:
            del index[key]

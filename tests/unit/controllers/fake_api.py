"""The API in memory, as far as the operator's driver needs it; it can die before or after any write."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from swarmkeep.errors import SwarmKeepError
from swarmkeep.kube.answers import AlreadyExists, ApiConflict, ApiNotFound
from swarmkeep.kube.client import Fence, ObjectList
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import Kind


class Crash(BaseException):
    """The operator's process died here. Nothing may catch it."""


class FakeApi:
    """Stands for kube.Client. `writes` counts the writes; `crash_at` says at which of them it dies."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, Ref], dict[str, Any]] = {}
        self.revision = 100
        self.writes = 0
        self.crash_at = 0
        self.carried_out = False
        """Whether the write at which it dies was carried out: then only its answer is lost."""
        self.error: SwarmKeepError | None = None
        """Every write raises this."""

    def put(self, kind: Kind, obj: Mapping[str, Any]) -> None:
        """Behind everybody's back."""
        self.revision += 1
        stored = copy.deepcopy(dict(obj))
        stored["metadata"]["resourceVersion"] = str(self.revision)
        self.objects[kind.plural, _ref(stored)] = stored

    def state(self) -> dict[tuple[str, str], Any]:
        """All that matters of all objects: not their versions, not when a condition changed."""
        return {(plural, str(ref)): _timeless(obj) for (plural, ref), obj in self.objects.items()}

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any]:
        return copy.deepcopy(self._find(kind, name, namespace))

    async def list(self, kind: Kind, namespace: str | None = None) -> ObjectList:
        items = [copy.deepcopy(obj) for (plural, _), obj in sorted(self.objects.items()) if plural == kind.plural]
        return ObjectList(items, str(self.revision))

    async def create(
        self, kind: Kind, body: Mapping[str, Any], namespace: str | None = None, *, fence: Fence | None = None
    ) -> dict[str, Any]:
        self._enter()
        obj = copy.deepcopy(dict(body))
        key = (kind.plural, _ref(obj))
        if key in self.objects:
            raise AlreadyExists(f"{key} is there")
        obj["metadata"] |= {"uid": f"uid-{key[1].name}", "generation": 1}
        self.put(kind, obj)
        self._leave()
        return copy.deepcopy(self.objects[key])

    async def patch(
        self,
        kind: Kind,
        name: str,
        patch: Mapping[str, Any],
        namespace: str | None = None,
        *,
        subresource: str = "",
        fence: Fence | None = None,
    ) -> dict[str, Any]:
        self._enter()
        known = self._find(kind, name, namespace)
        version = patch.get("metadata", {}).get("resourceVersion")
        if version not in (None, known["metadata"]["resourceVersion"]):
            raise ApiConflict(f"{name} is at {known['metadata']['resourceVersion']}, not {version}")
        wanted = {part: value for part, value in patch.items() if (part == "status") is (subresource == "status")}
        changed = _merge(known, wanted)
        self.put(kind, changed)
        if "deletionTimestamp" in changed["metadata"] and not changed["metadata"].get("finalizers"):
            del self.objects[kind.plural, _ref(changed)]
        self._leave()
        return copy.deepcopy({**changed, "metadata": {**changed["metadata"], "resourceVersion": str(self.revision)}})

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        *,
        resource_version: str | None = None,
        fence: Fence | None = None,
    ) -> None:
        self._enter()
        known = self._find(kind, name, namespace)
        if resource_version not in (None, known["metadata"]["resourceVersion"]):
            raise ApiConflict(f"{name} has changed")
        if known["metadata"].get("finalizers"):
            self.put(kind, _merge(known, {"metadata": {"deletionTimestamp": "2026-01-01T12:00:00Z"}}))
        else:
            del self.objects[kind.plural, _ref(known)]
        self._leave()

    def _find(self, kind: Kind, name: str, namespace: str | None) -> dict[str, Any]:
        key = (kind.plural, Ref(namespace or "", name))
        if key not in self.objects:
            raise ApiNotFound(f"there is no {key}")
        return self.objects[key]

    def _enter(self) -> None:
        if self.error is not None:
            raise self.error
        self.writes += 1
        if self.writes == self.crash_at and not self.carried_out:
            raise Crash

    def _leave(self) -> None:
        if self.writes == self.crash_at and self.carried_out:
            raise Crash


def _ref(obj: Mapping[str, Any]) -> Ref:
    return Ref(obj["metadata"].get("namespace") or "", obj["metadata"]["name"])


def _merge(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return merged


def _timeless(obj: Any) -> Any:
    if isinstance(obj, Mapping):
        left = {name: _timeless(value) for name, value in obj.items()}
        return {name: value for name, value in left.items() if name not in ("resourceVersion", "lastTransitionTime")}
    return [_timeless(item) for item in obj] if isinstance(obj, list) else obj

"""The part of an object's metadata that belongs to the server, and what a write may change beside it. Pure.

Called by every write before validation. Rules: Kubernetes' API conventions.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from swarmkeep.apiserver.resources import Resource
from swarmkeep.apiserver.status_errors import bad_request
from swarmkeep.apiserver.validation import FORBIDDEN, FieldError
from swarmkeep.model.wire import format_time

Obj = dict[str, Any]

_SYSTEM_FIELDS = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_NEVER_STORED = (*_SYSTEM_FIELDS, "selfLink", "resourceVersion")
_DROPPED_IF_EMPTY = ("labels", "annotations", "finalizers", "ownerReferences", "managedFields", "generateName")
_NO_GENERATION = ("apiVersion", "kind", "metadata", "status")


def check_identity(resource: Resource, body: Any, namespace: str, name: str) -> Obj:
    """`body` if it is an object of this kind and place. Raises StatusError 400 if it says it is something else.

    `name` is empty where a new object names itself.
    """
    if not isinstance(body, dict):
        raise bad_request("the body of the request must be one object")
    for field, expected in (("apiVersion", resource.api_version), ("kind", resource.kind)):
        said = body.get(field)
        if said not in (None, "", expected):
            raise bad_request(f"the object provided is of {field} {said!r}, but {expected!r} is expected here")
    metadata = body.get("metadata")
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    said_namespace = metadata.get("namespace")
    if resource.namespaced and said_namespace not in (None, "", namespace):
        raise bad_request(
            f"the namespace of the provided object does not match the namespace sent on the request: "
            f"{said_namespace!r} is not {namespace!r}"
        )
    if name and metadata.get("name") not in (None, "", name):
        raise bad_request(
            f"the name of the object ({metadata.get('name')}) does not match the name on the URL ({name})"
        )
    return {**body, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}


def new_object(resource: Resource, body: Mapping[str, Any], namespace: str, name: str, uid: str, now: datetime) -> Obj:
    """A checked body as a new object. Its status is dropped where status is written apart."""
    metadata = {key: value for key, value in body["metadata"].items() if key not in _NEVER_STORED}
    system: Obj = {"name": name}
    if resource.namespaced:
        system["namespace"] = namespace
    system |= {"uid": uid, "creationTimestamp": format_time(now.replace(microsecond=0)), "generation": 1}
    obj = {**body, "metadata": _without_empty({**system, **metadata})}
    if resource.has_status:
        obj.pop("status", None)
    return obj


def updated_object(resource: Resource, old: Mapping[str, Any], new: Mapping[str, Any], subresource: str) -> Obj:
    """What a write of `new` over `old` may change: all but the status, or with `subresource` "status" only that.

    The result has no resourceVersion.
    """
    if subresource == "status":
        obj = {key: value for key, value in old.items() if key != "status"}
        if "status" in new:
            obj["status"] = new["status"]
        managed = new["metadata"].get("managedFields")
        metadata = {**old["metadata"], "managedFields": managed}
        metadata.pop("resourceVersion", None)
        obj["metadata"] = _without_empty(metadata)
        return obj
    obj = dict(new)
    if resource.has_status:
        obj.pop("status", None)
        if "status" in old:
            obj["status"] = old["status"]
    metadata = {key: value for key, value in new["metadata"].items() if key not in _NEVER_STORED}
    system = {key: old["metadata"][key] for key in _SYSTEM_FIELDS if key in old["metadata"]}
    obj["metadata"] = _without_empty({**system, **metadata})
    return obj


def with_generation(old: Mapping[str, Any], new: Obj) -> Obj:
    """`new` with the generation counted up if anything but metadata and status differs from `old`."""
    names = (old.keys() | new.keys()).difference(_NO_GENERATION)
    if all(old.get(name) == new.get(name) for name in names):
        return new
    generation = int(old["metadata"].get("generation") or 1) + 1
    return {**new, "metadata": {**new["metadata"], "generation": generation}}


def finalizer_errors(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[FieldError]:
    """What is wrong with the finalizers of an object that is being deleted: it takes no new ones."""
    if "deletionTimestamp" not in old["metadata"]:
        return []
    added = set(new["metadata"].get("finalizers") or ()) - set(old["metadata"].get("finalizers") or ())
    if not added:
        return []
    names = ", ".join(f'"{name}"' for name in sorted(added))
    message = f"Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers {names}"
    return [FieldError("metadata.finalizers", FORBIDDEN, message)]


def marked_for_deletion(old: Mapping[str, Any], now: datetime) -> Obj:
    """`old` with a deletion timestamp; it stays until its last finalizer is removed."""
    metadata = {
        **old["metadata"],
        "deletionTimestamp": format_time(now.replace(microsecond=0)),
        "deletionGracePeriodSeconds": 0,
        "generation": int(old["metadata"].get("generation") or 1) + 1,
    }
    return {**old, "metadata": metadata}


def is_released(obj: Mapping[str, Any]) -> bool:
    """Whether an object that is being deleted has nothing left that holds it."""
    return "deletionTimestamp" in obj["metadata"] and not obj["metadata"].get("finalizers")


def _without_empty(metadata: Mapping[str, Any]) -> Obj:
    return {key: value for key, value in metadata.items() if value or key not in _DROPPED_IF_EMPTY}

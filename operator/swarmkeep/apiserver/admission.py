"""What every new state of an object goes through before it is stored: unknown fields, defaults, validation. Pure.

Called by create and update. Also the few rules that belong to one built-in kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarmkeep.apiserver import schema
from swarmkeep.apiserver.call import FieldValidation
from swarmkeep.apiserver.resources import Registry, Resource
from swarmkeep.apiserver.status_errors import bad_request, invalid
from swarmkeep.apiserver.system_metadata import finalizer_errors
from swarmkeep.model.kinds import EVENT, NAMESPACE

Obj = dict[str, Any]


def shape(resource: Resource, obj: Obj, field_validation: FieldValidation) -> tuple[Obj, list[str]]:
    """The object without unknown fields and with defaults, and warnings about what had to go.

    Raises StatusError 400 for unknown fields if they are to be refused.
    """
    result = schema.prune_and_default(resource, obj)
    unknown = result.unknown_fields
    if unknown and field_validation == "Strict":
        message = f"{resource.kind} in version {resource.version!r} cannot be handled as a {resource.kind}: "
        raise bad_request(f"{message}strict decoding error: {', '.join(unknown)}".replace("'", '"'))
    return result.body, unknown if field_validation == "Warn" else []


def check(resource: Resource, obj: Obj, old: Obj | None, subresource: str) -> None:
    """Raises StatusError 422 naming every field that is wrong."""
    errors = schema.validate(resource, obj, old=old, subtree="status" if subresource == "status" else "all")
    if old is not None:
        errors = [*errors, *finalizer_errors(old, obj)]
    if errors:
        raise invalid(resource, str(obj["metadata"].get("name") or ""), errors)


def complete_new(resource: Resource, obj: Obj, registry: Registry) -> Obj:
    """A new object with what the server adds for its kind."""
    if is_kind(resource, EVENT.group, EVENT.name):
        return _complete_event(obj, registry)
    if is_kind(resource, NAMESPACE.group, NAMESPACE.name):
        return _complete_namespace(obj)
    return obj


def is_kind(resource: Resource, group: str, kind: str) -> bool:
    """Whether this is that kind."""
    return (resource.group, resource.kind) == (group, kind)


def _complete_event(event: Obj, registry: Registry) -> Obj:
    """kopf names the namespace `default` for objects that have none, kubectl describe asks for events without one."""
    involved = event.get("involvedObject")
    if not isinstance(involved, Mapping):
        return event
    group, _, version = str(involved.get("apiVersion") or "").rpartition("/")
    found = registry.by_kind(group, version, str(involved.get("kind") or ""))
    if found is None or found.namespaced or "namespace" not in involved:
        return event
    return {**event, "involvedObject": {key: value for key, value in involved.items() if key != "namespace"}}


def _complete_namespace(obj: Obj) -> Obj:
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    if isinstance(labels, Mapping):
        metadata = {**metadata, "labels": {**labels, "kubernetes.io/metadata.name": metadata["name"]}}
    return {"spec": {}, **obj, "metadata": metadata, "status": {"phase": "Active"}}

"""Objects as rows of a meta.k8s.io/v1 Table: what `kubectl get` prints, computed by the server.

Called by get, list and watch when the client asks for `as=Table`. Columns come from the CRD, or from the built-in kind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from swarmkeep.apiserver import jsonpath
from swarmkeep.apiserver.ages import UNKNOWN, age
from swarmkeep.apiserver.resources import PrinterColumn, Resource
from swarmkeep.model import kinds

Include = Literal["Metadata", "Object", "None"]
Object = Mapping[str, Any]

_NAME = "Name must be unique within a namespace. Is required when creating resources."
_AGE = PrinterColumn("Age", "date", ".metadata.creationTimestamp", "Time since the object was made")


def table(
    resource: Resource,
    objects: Iterable[Object],
    *,
    include: Include = "Metadata",
    resource_version: str = "",
    continue_token: str = "",
    remaining: int | None = None,
    columns: bool = True,
    now: datetime,
) -> dict[str, Any]:
    """The objects as one Table.

    `include` says what of each object goes along, as the query parameter includeObject; `remaining` is
    remainingItemCount; `columns=False` leaves out the definitions, for all but the first event of a watch.
    """
    metadata: dict[str, Any] = {"resourceVersion": resource_version}
    if continue_token:
        metadata["continue"] = continue_token
    if remaining is not None:
        metadata["remainingItemCount"] = remaining
    is_event = (resource.group, resource.kind) == (kinds.EVENT.group, kinds.EVENT.name)
    cells = _event_cells if is_event else _cells_of(resource)
    definitions = [] if not columns else _EVENT_COLUMNS if is_event else _definitions(resource)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": [{"cells": cells(obj, now), **_row_object(obj, include)} for obj in objects],
    }


def _row_object(obj: Object, include: Include) -> dict[str, Any]:
    if include == "None":
        return {}
    return {"object": partial_metadata(obj) if include == "Metadata" else obj}


def partial_metadata(obj: Object) -> dict[str, Any]:
    """The object reduced to its metadata, as clients ask for with `as=PartialObjectMetadata`."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj.get("metadata", {})}


def _printer_columns(resource: Resource) -> tuple[PrinterColumn, ...]:
    return resource.printer_columns or (_AGE,)


def _definitions(resource: Resource) -> list[dict[str, Any]]:
    described = (
        _definition(column.name, column.type, column.description, column.priority, column.format)
        for column in _printer_columns(resource)
    )
    return [_definition("Name", "string", _NAME, 0, "name"), *described]


def _definition(name: str, kind: str, description: str, priority: int = 0, form: str = "") -> dict[str, Any]:
    return {"name": name, "type": kind, "format": form, "description": description, "priority": priority}


def _cells_of(resource: Resource) -> Callable[[Object, datetime], list[Any]]:
    columns = _printer_columns(resource)

    def cells(obj: Object, now: datetime) -> list[Any]:
        return [obj.get("metadata", {}).get("name", ""), *(_cell(column, obj, now) for column in columns)]

    return cells


def _cell(column: PrinterColumn, obj: Object, now: datetime) -> Any:
    """The value as its column's type says; None, which kubectl shows as <none>, if it is missing or of another type."""
    values = jsonpath.find(column.path, obj)
    if not values or values[0] is None:
        return None
    value = values[0]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match column.type:
        case "date":
            return age(value, now)
        case "integer":
            return int(value) if is_number else None
        case "number":
            return value if is_number else None
        case "boolean":
            return value if isinstance(value, bool) else None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_EVENT_COLUMNS = [
    _definition("Last Seen", "string", "When it happened last."),
    _definition("Type", "string", "Normal or Warning."),
    _definition("Reason", "string", "One CamelCase word for programs."),
    _definition("Object", "string", "The object that it happened to."),
    _definition("Subobject", "string", "The part of the object that is spoken of.", 1),
    _definition("Source", "string", "Who saw it.", 1),
    _definition("Message", "string", "A sentence for people."),
    _definition("First Seen", "string", "When it happened first.", 1),
    _definition("Count", "string", "How often it happened.", 1),
    _definition("Name", "string", _NAME, 1, "name"),
]


def _event_cells(event: Object, now: datetime) -> list[Any]:
    involved, source, series = (event.get(part) or {} for part in ("involvedObject", "source", "series"))
    last = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    first = event.get("firstTimestamp") or event.get("eventTime")
    kind, name = involved.get("kind", "").lower(), involved.get("name", "")
    component = source.get("component") or event.get("reportingComponent") or ""
    host = source.get("host") or event.get("reportingInstance") or ""
    return [
        age(last, now) if last else UNKNOWN,
        event.get("type", ""),
        event.get("reason", ""),
        f"{kind}/{name}" if kind else name,
        involved.get("fieldPath", ""),
        ", ".join(part for part in (component, host) if part),
        str(event.get("message", "")).strip(),
        age(first, now) if first else UNKNOWN,
        str(series.get("count") or event.get("count") or 1),
        event.get("metadata", {}).get("name", ""),
    ]

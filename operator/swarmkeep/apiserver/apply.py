"""Server-side apply: several appliers share one object, each owning the fields that it last applied.

Called by the PATCH verb for application/apply-patch+yaml (`server_side_apply`) and by every other write
(`drop_ownership`). Only appliers are recorded in metadata.managedFields, other writers are not: what somebody changed
by hand the next apply overwrites without a conflict, where a Kubernetes cluster would report one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from swarmkeep.apiserver.field_sets import (
    MISSING,
    Path,
    Schema,
    as_text,
    child_schema,
    decode,
    encode,
    fields_of,
    has_keys,
    is_granular_map,
    item_element,
    list_type,
    value_at,
)
from swarmkeep.apiserver.resources import Resource
from swarmkeep.apiserver.validation import FieldError
from swarmkeep.errors import Conflict, UserError
from swarmkeep.model.wire import format_time

Object = Mapping[str, Any]
Owned = dict[tuple[str, str], frozenset[Path]]
"""Paths by (manager, subresource)."""

CONFLICT_CAUSE = "FieldManagerConflict"


class ApplyConflict(Conflict):
    """Fields have other values and belong to other appliers; `causes` has one FieldError for each."""

    def __init__(self, causes: list[FieldError]) -> None:
        self.causes = causes
        if len(causes) == 1:
            text = f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].path}"
        else:
            lines = "".join(f"\n- {cause.path}: {cause.message}" for cause in causes)
            text = f"Apply failed with {len(causes)} conflicts:{lines}"
        super().__init__(text)


def server_side_apply(
    resource: Resource,
    live: Object | None,
    applied: Object,
    manager: str,
    force: bool,
    now: datetime,
    *,
    subresource: str = "",
) -> dict[str, Any]:
    """`live` (None: there is no such object yet) after `manager` applied `applied`, ownership included.

    What the manager owned and no longer says is removed, unless another applier owns it. The result still has to be
    pruned, defaulted and validated; `applied` must not be defaulted before, or its manager would own the defaults.
    The caller takes `status` out of `applied` (or, for `subresource="status"`, all but it). Raises ApplyConflict
    unless `force`, and UserError for what cannot be applied.
    """
    if not manager:
        raise UserError("fieldManager is required for apply patch")
    if (applied.get("metadata") or {}).get("managedFields"):
        raise UserError("metadata.managedFields must be nil")
    schema: Schema = resource.schema or {}
    said = fields_of(applied, schema)
    base = live if live is not None else {}
    entries = _apply_entries(base)
    owned = {_owner(entry): decode(entry.get("fieldsV1")) for entry in entries}
    me = (manager, subresource)
    before = owned.pop(me, frozenset())

    merged: dict[str, Any] = _merge(base, applied, schema)
    owned = _settle_conflicts(base, merged, said, owned, force=force, api_version=resource.api_version)
    for path in _removal_order(before - said):
        _remove(merged, path, said, owned)
    if said:
        owned[me] = said
    merged["metadata"] = _with_entries(merged.get("metadata") or {}, entries, owned, resource.api_version, now)
    return merged


def drop_ownership(live: Object, updated: Object) -> dict[str, Any]:
    """`updated`, what any other write made of `live`, with the ownership of `live` for all fields that it left alone.

    What clients say about managedFields is ignored.
    """
    entries = _apply_entries(live)
    owned: Owned = {}
    for entry in entries:
        paths = decode(entry.get("fieldsV1"))
        if kept := frozenset(path for path in paths if not _was_changed(live, updated, path)):
            owned[_owner(entry)] = kept
    metadata = _with_entries(updated.get("metadata") or {}, entries, owned, "", None)
    return {**updated, "metadata": metadata}


def _apply_entries(obj: Object) -> list[Mapping[str, Any]]:
    entries = (obj.get("metadata") or {}).get("managedFields") or ()
    return [entry for entry in entries if isinstance(entry, Mapping) and entry.get("operation") == "Apply"]


def _owner(entry: Mapping[str, Any]) -> tuple[str, str]:
    return str(entry.get("manager", "")), str(entry.get("subresource", ""))


def _with_entries(
    metadata: Object, old: list[Mapping[str, Any]], owned: Owned, api_version: str, now: datetime | None
) -> dict[str, Any]:
    """The metadata with one entry per owner. An entry that says the same as before keeps its time, so that applying
    the same again changes nothing."""
    before = {_owner(entry): entry for entry in old}
    entries = []
    for (manager, subresource), paths in owned.items():
        previous = before.get((manager, subresource), {})
        fields = encode(paths)
        if previous.get("fieldsV1") == fields:
            entries.append(dict(previous))
            continue
        entry = {
            "manager": manager,
            "operation": "Apply",
            "apiVersion": api_version or previous.get("apiVersion", ""),
            "time": format_time(now.replace(microsecond=0)) if now else previous.get("time"),
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
        entries.append({**entry, "subresource": subresource} if subresource else entry)
    rest = {name: value for name, value in metadata.items() if name != "managedFields"}
    return {**rest, "managedFields": sorted(entries, key=_owner)} if entries else rest


def _merge(live: Any, applied: Any, schema: Schema) -> Any:
    """What the applied value makes of the live one; shares parts with neither where it could be changed later."""
    if is_granular_map(applied, schema):
        merged = _copy(live) if isinstance(live, Mapping) else {}
        for name, value in applied.items():
            if value is not None:
                merged[name] = _merge(merged.get(name), value, child_schema(schema, f"f:{name}"))
        return merged
    kind = list_type(applied, schema)
    if kind not in ("map", "set") or list_type(live, schema) != kind:
        return _without_nulls(applied)
    merged_items = [_copy(item) for item in live]
    at = {item_element(item, schema): index for index, item in enumerate(merged_items)}
    for item in applied:
        element = item_element(item, schema)
        if element not in at:
            at[element] = len(merged_items)
            merged_items.append(_without_nulls(item))
        elif kind == "map":
            merged_items[at[element]] = _merge(merged_items[at[element]], item, child_schema(schema, element))
    return merged_items


def _settle_conflicts(
    live: Object, merged: Object, said: frozenset[Path], owned: Owned, *, force: bool, api_version: str
) -> Owned:
    """The others' ownership, less what is taken from them. Equal values are owned together."""
    changed = [path for path in sorted(said | _replaced_scalars(live, said)) if _value_differs(live, merged, path)]
    taken: dict[tuple[str, str], set[Path]] = {}
    for owner, paths in owned.items():
        for path in changed:
            taken.setdefault(owner, set()).update(
                other
                for other in paths
                if other == path or (_overlap(other, path) and _was_changed(live, merged, other))
            )
    causes = [
        FieldError(as_text(path), CONFLICT_CAUSE, f'conflict with "{owner[0]}" using {api_version}')
        for owner, paths in taken.items()
        for path in sorted(paths)
    ]
    if causes and not force:
        raise ApplyConflict(causes)
    left = {owner: paths - taken.get(owner, set()) for owner, paths in owned.items()}
    return {owner: paths for owner, paths in left.items() if paths}


def _replaced_scalars(live: Object, said: frozenset[Path]) -> frozenset[Path]:
    """Fields with a plain value that what is said makes a map or a list of."""
    parents = {path[:length] for path in said for length in range(1, len(path))}
    return frozenset(
        path
        for path in parents
        if (value := value_at(live, path)) is not MISSING and not isinstance(value, dict | list)
    )


def _value_differs(live: Object, merged: Object, path: Path) -> bool:
    """Whether applying gave a field another value. An item of a list is no value, its fields are."""
    if not path[-1].startswith("f:"):
        return False
    before = value_at(live, path)
    return before is not MISSING and before != value_at(merged, path)


def _was_changed(live: Object, updated: Object, path: Path) -> bool:
    before, after = value_at(live, path), value_at(updated, path)
    if not path[-1].startswith("f:"):
        return after is MISSING
    return before is MISSING or after is MISSING or before != after


def _overlap(one: Path, other: Path) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _removal_order(paths: frozenset[Path]) -> list[Path]:
    """Shallow first: a list item goes as a whole, before its key is looked for to find it."""
    return sorted(paths, key=lambda path: (len(path), path))


def _remove(merged: dict[str, Any], path: Path, said: frozenset[Path], owned: Owned) -> None:
    """Takes the field out unless somebody has a say in it; then maps and lists that are empty for lack of it."""
    if _is_needed(path, said, owned) or _is_key_of_its_item(path):
        return
    _delete(merged, path)
    for depth in range(len(path) - 1, 0, -1):
        parent = path[:depth]
        value = value_at(merged, parent)
        if value is MISSING or value or not isinstance(value, dict | list) or _is_needed(parent, said, owned):
            return
        _delete(merged, parent)


def _is_needed(path: Path, said: frozenset[Path], owned: Owned) -> bool:
    return any(other[: len(path)] == path for paths in (said, *owned.values()) for other in paths)


def _is_key_of_its_item(path: Path) -> bool:
    """An item that stays keeps what names it."""
    return len(path) > 1 and path[-2].startswith("k:") and path[-1][2:] in json.loads(path[-2][2:])


def _delete(obj: dict[str, Any], path: Path) -> None:
    parent, element = value_at(obj, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent.pop(element[2:], None)
    elif isinstance(parent, list):
        wanted = json.loads(element[2:])
        is_map = element.startswith("k:")
        parent[:] = [item for item in parent if not (has_keys(item, wanted) if is_map else item == wanted)]


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _copy(child) for name, child in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _without_nulls(value: Any) -> Any:
    """A copy; null in a map says nothing."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(child) for name, child in value.items() if child is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value

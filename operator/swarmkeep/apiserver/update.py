"""PUT and PATCH: reads the object, changes it, and writes it if nobody else has changed it meanwhile; else once more.

A patch that does not name a resourceVersion therefore never fails for having been too slow: controllers' timers die of
such conflicts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

from swarmkeep.apiserver import admission, apply, codec, create, negotiation, patching
from swarmkeep.apiserver.authorize import authorize_write
from swarmkeep.apiserver.call import Call, flag, utc_now
from swarmkeep.apiserver.guards import guards_for
from swarmkeep.apiserver.keys import key_of
from swarmkeep.apiserver.services import Services
from swarmkeep.apiserver.status_errors import (
    StatusError,
    bad_request,
    conflict,
    invalid,
    method_not_allowed,
    modified,
    not_found,
    unsupported_media,
)
from swarmkeep.apiserver.store import Stale, Stored
from swarmkeep.apiserver.system_metadata import check_identity, is_released, updated_object, with_generation
from swarmkeep.apiserver.validation import FieldError
from swarmkeep.errors import Conflict, InvalidObject, Unavailable, UserError

Obj = dict[str, Any]
Written = tuple[Stored, list[str], bool]
"""The object, warnings, and whether it is new."""

_TRIES = 50
_SERVER_SET = (
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
)

_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


async def replace(services: Services, call: Call, body: Any) -> Written:
    """PUT: the body takes the place of the object, or of its status."""
    checked = check_identity(call.resource, body, call.namespace, call.name)
    return await _update(services, call, lambda _: checked)


async def patch(services: Services, call: Call, body: Any, content_type: str) -> Written:
    """PATCH in any of its forms. Raises StatusError 415 for those that a kind does not take."""
    accepted = [negotiation.MERGE_PATCH, negotiation.JSON_PATCH, negotiation.APPLY_PATCH]
    if not call.resource.is_custom:
        accepted.append(negotiation.STRATEGIC_PATCH)
    match content_type:
        case negotiation.APPLY_PATCH:
            return await _apply(services, call, body)
        case negotiation.JSON_PATCH:
            return await _update(services, call, lambda old: patching.json_patch(old, body))
        case negotiation.STRATEGIC_PATCH if content_type in accepted:
            body = patching.strategic_subset(body)
        case negotiation.MERGE_PATCH:
            pass
        case _:
            raise unsupported_media(content_type, accepted)
    if not isinstance(body, dict):
        raise bad_request("a merge patch must be an object")
    return await _update(services, call, lambda old: patching.merge_patch(old, body))


async def _update(services: Services, call: Call, change: Callable[[Obj], Any]) -> Written:
    def changed(old: Obj) -> Obj:
        try:
            new = change(old)
        except InvalidObject as error:
            raise invalid(call.resource, call.name, [FieldError("patch", "FieldValueInvalid", str(error))]) from error
        new = check_identity(call.resource, new, call.namespace, call.name)
        _check_preconditions(call, old, new["metadata"])
        return updated_object(call.resource, old, new, call.subresource)

    async with _alone(key_of(call.resource, call.namespace, call.name)):
        result = await _write(services, call, lambda old: apply.drop_ownership(old, changed(old)))
    if result is None:
        raise not_found(call.resource, call.name)
    return *result, False


async def _apply(services: Services, call: Call, body: Any) -> Written:
    manager = call.query.get("fieldManager", "")
    force = flag(call.query, "force")
    checked = check_identity(call.resource, body, call.namespace, call.name)
    applied = _applied_part(call, checked)
    named_version = checked["metadata"].get("resourceVersion")

    def merged(old: Obj) -> Obj:
        _check_preconditions(call, old, checked["metadata"])
        new = apply.server_side_apply(
            call.resource, old, applied, manager, force, utc_now(), subresource=call.subresource
        )
        return updated_object(call.resource, old, new, call.subresource)

    key = key_of(call.resource, call.namespace, call.name)
    async with _alone(key):
        for _ in range(_TRIES):
            result = await _write(services, call, merged)
            if result is not None:
                return *result, False
            if call.subresource:
                raise not_found(call.resource, call.name)
            if "create" not in call.resource.verbs:
                raise method_not_allowed(f"{call.resource.qualified_plural} cannot be created")
            if named_version:
                raise conflict(call.resource, call.name, "the object to apply to, of this resourceVersion, is gone")
            new = apply.server_side_apply(call.resource, None, applied, manager, force, utc_now())
            try:
                return *await create.create_named(services, call, new, call.name), True
            except StatusError as error:
                if error.status_reason != "AlreadyExists":
                    raise
    raise Unavailable(f'{call.resource.qualified_plural} "{call.name}" comes and goes too fast: try again')


async def _write(services: Services, call: Call, change: Callable[[Obj], Obj]) -> tuple[Stored, list[str]] | None:
    """Applies `change` until it is written; None if there is no such object. Raises StatusError."""
    key = key_of(call.resource, call.namespace, call.name)
    stored = services.recent.get(key)
    is_guess = stored is not None
    if stored is None:
        stored = await services.store.read(key)
    for _ in range(_TRIES):
        if stored is None:
            return None
        try:
            result, warnings = await _attempt(services, call, key, stored, change)
        except (StatusError, UserError, Conflict):
            if not is_guess:
                raise
            result, warnings = None, []
        if isinstance(result, Stored) and not (is_guess and result is stored):
            return result, warnings
        # Nobody is refused, or told that nothing changes, because of what was only a guess.
        stored = result.current if isinstance(result, Stale) else await services.store.read(key)
        is_guess = False
    raise modified(call.resource, call.name)


async def _attempt(
    services: Services, call: Call, key: str, stored: Stored, change: Callable[[Obj], Obj]
) -> tuple[Stored | Stale | None, list[str]]:
    """One try on the object as it may be: `stored` itself if the change changes nothing."""
    old = stored.obj()
    new, warnings = admission.shape(call.resource, change(old), call.field_validation)
    new = with_generation(old, new)
    admission.check(call.resource, new, old, call.subresource)
    authorize_write(call, old, new)
    guards = await guards_for(call.demands, services.etcd, services.node_leases)
    unchanged = _same(old, new)
    if unchanged and not guards:
        return stored, warnings
    raw = codec.encode(new)
    if unchanged or call.dry_run:
        stale = await services.store.check(key, stored.revision, guards)
        return stale or (stored if unchanged else Stored(raw, stored.revision)), warnings
    if is_released(new):
        deleted = await services.store.delete(key, stored.revision, guards)
        return deleted if isinstance(deleted, Stale) else Stored(raw, deleted), warnings
    result = await create.put_leased(services, call, key, raw, stored.revision, guards)
    if isinstance(result, Stored):
        services.recent.remember(key, result)
    return result, warnings


def _check_preconditions(call: Call, old: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Raises StatusError 409 if the request names another version, or another object of that name, than there is."""
    uid = metadata.get("uid")
    if uid not in (None, "", old["metadata"]["uid"]):
        problem = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
        raise conflict(call.resource, call.name, problem)
    if metadata.get("resourceVersion") not in (None, "", "0", old["metadata"]["resourceVersion"]):
        raise modified(call.resource, call.name)


def _applied_part(call: Call, checked: Obj) -> Obj:
    """What an applier says of the part that it writes."""
    metadata = {
        key: value for key, value in checked["metadata"].items() if key not in (*_SERVER_SET, "resourceVersion")
    }
    metadata["name"] = call.name
    applied = {**checked, "metadata": metadata}
    if call.subresource == "status":
        kept = ("name", "namespace", "managedFields")
        metadata = {key: value for key, value in metadata.items() if key in kept}
        return {
            **{key: value for key, value in checked.items() if key in ("apiVersion", "kind", "status")},
            "metadata": metadata,
        }
    if call.resource.has_status:
        applied.pop("status", None)
    return applied


def _same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether nothing but the resourceVersion differs. Python takes True for 1; JSON does not."""
    before = {**old, "metadata": {k: v for k, v in old["metadata"].items() if k != "resourceVersion"}}
    if before != new:
        return False
    return json.dumps(before, sort_keys=True) == json.dumps(new, sort_keys=True)


@asynccontextmanager
async def _alone(key: str) -> AsyncIterator[None]:
    """Lets writers of one object within this server take turns: racing, they would only make each other try again."""
    lock = _locks.get(key)
    if lock is None:
        lock = _locks[key] = asyncio.Lock()
    async with lock:
        yield

"""DELETE of one object or of a collection. What has finalizers is only marked, and goes with the last of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from swarmkeep.apiserver import admission, codec
from swarmkeep.apiserver.authorize import authorize_write
from swarmkeep.apiserver.call import Call, utc_now
from swarmkeep.apiserver.guards import guards_for
from swarmkeep.apiserver.keys import key_of
from swarmkeep.apiserver.namespaces import PERMANENT
from swarmkeep.apiserver.services import Services
from swarmkeep.apiserver.status_errors import StatusError, bad_request, conflict, forbidden, modified, not_found
from swarmkeep.apiserver.store import Stale, Stored
from swarmkeep.apiserver.system_metadata import marked_for_deletion
from swarmkeep.model.kinds import NAMESPACE

_TRIES = 50


async def delete(services: Services, call: Call, options: Any) -> tuple[Stored, bool]:
    """The object as it was or is now, and whether it is gone. Raises StatusError."""
    preconditions = _preconditions(options)
    dry_run = call.dry_run or _is_dry_run(options)
    is_namespace = admission.is_kind(call.resource, NAMESPACE.group, NAMESPACE.name)
    if is_namespace and call.name in PERMANENT:
        raise forbidden(call.resource, call.name, "this namespace may not be deleted")
    key = key_of(call.resource, call.namespace, call.name)
    for _ in range(_TRIES):
        stored = await services.store.read(key)
        if stored is None:
            raise not_found(call.resource, call.name)
        old = stored.obj()
        _check(call, old, preconditions)
        authorize_write(call, old, None)
        guards = await guards_for(call.demands, services.etcd, services.node_leases)
        held = is_namespace or bool(old["metadata"].get("finalizers"))
        if dry_run or (held and "deletionTimestamp" in old["metadata"]):
            if await services.store.check(key, stored.revision, guards) is None:
                return stored, not held
            continue
        if not held:
            deleted = await services.store.delete(key, stored.revision, guards)
            if not isinstance(deleted, Stale):
                return Stored(stored.raw, deleted), True
            continue
        marked = marked_for_deletion(old, utc_now())
        if is_namespace:
            marked["status"] = {**(old.get("status") or {}), "phase": "Terminating"}
        result = await services.store.put(key, codec.encode(marked), stored.revision, guards)
        if isinstance(result, Stored):
            return result, False
    raise modified(call.resource, call.name)


async def delete_each(services: Services, call: Call, objects: list[tuple[str, str]], options: Any) -> None:
    """Deletes objects, given as (namespace, name), one after the other; those that are gone already do not matter."""
    for namespace, name in objects:
        try:
            await delete(services, replace(call, namespace=namespace, name=name), options)
        except StatusError as error:
            if error.code != 404:
                raise


def _preconditions(options: Any) -> Mapping[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise bad_request("the body of a delete request must be DeleteOptions")
    preconditions = options.get("preconditions") or {}
    if not isinstance(preconditions, Mapping):
        raise bad_request("preconditions must be an object")
    return preconditions


def _is_dry_run(options: Any) -> bool:
    wanted = (options or {}).get("dryRun") or []
    if not isinstance(wanted, list):
        raise bad_request("dryRun must be a list")
    return "All" in wanted


def _check(call: Call, old: Mapping[str, Any], preconditions: Mapping[str, Any]) -> None:
    for field, label in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        wanted, found = preconditions.get(field), old["metadata"].get(field)
        if wanted not in (None, "", found):
            problem = f"Precondition failed: {label} in precondition: {wanted}, {label} in object meta: {found}"
            raise conflict(call.resource, call.name, problem)

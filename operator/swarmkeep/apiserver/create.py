"""POST to a collection, and server-side apply of an object that does not exist yet."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from swarmkeep.apiserver import admission, codec
from swarmkeep.apiserver.apply import drop_ownership
from swarmkeep.apiserver.authorize import authorize, authorize_write
from swarmkeep.apiserver.call import Call, utc_now
from swarmkeep.apiserver.guards import Guard, guards_for
from swarmkeep.apiserver.keys import key_of
from swarmkeep.apiserver.object_meta import MAX_NAME_LENGTH
from swarmkeep.apiserver.services import Services
from swarmkeep.apiserver.status_errors import StatusError, already_exists, bad_request
from swarmkeep.apiserver.store import Stale, Stored
from swarmkeep.apiserver.system_metadata import check_identity, new_object
from swarmkeep.errors import Unavailable
from swarmkeep.etcd.failures import LeaseGone
from swarmkeep.model.kinds import EVENT

_TRIES = 8
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""As Kubernetes: no vowels, so that chance writes no words."""


async def create(services: Services, call: Call, body: Any) -> tuple[Stored, list[str]]:
    """The new object as stored, and warnings. Raises StatusError."""
    body = check_identity(call.resource, body, call.namespace, "")
    metadata = body["metadata"]
    if metadata.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    if not isinstance(metadata.get("name") or "", str):
        raise bad_request("metadata.name must be a text")
    body = drop_ownership({}, body)
    if metadata.get("name") or not isinstance(metadata.get("generateName"), str) or not metadata["generateName"]:
        return await create_named(services, call, body, metadata.get("name") or "")
    for _ in range(_TRIES):
        try:
            return await create_named(services, call, body, _generated_name(metadata["generateName"]))
        except StatusError as error:
            if error.status_reason != "AlreadyExists":
                raise
    raise Unavailable(f"no free name was found for {metadata['generateName']!r}: try again")


async def create_named(services: Services, call: Call, body: dict[str, Any], name: str) -> tuple[Stored, list[str]]:
    """As `create`, for a checked body, under this name."""
    resource = call.resource
    call = replace(call, name=name)
    authorize(call)  # once more: until now the name was not known
    obj = new_object(resource, body, call.namespace, name, str(uuid.uuid4()), utc_now())
    obj, warnings = admission.shape(resource, obj, call.field_validation)
    admission.check(resource, obj, None, "")
    obj = admission.complete_new(resource, obj, services.registry)
    authorize_write(call, None, obj)
    key, raw = key_of(resource, call.namespace, name), codec.encode(obj)
    guards = await guards_for(call.demands, services.etcd, services.node_leases)
    if not resource.namespaced:
        return await _put(services, call, key, raw, guards), warnings
    for attempt in range(_TRIES):
        namespace_guard = await services.namespaces.guard(services.etcd, call.namespace, fresh=attempt > 0)
        try:
            return await _put(services, call, key, raw, (*guards, namespace_guard)), warnings
        except StatusError as error:
            if error is not namespace_guard.error:
                raise
    raise Unavailable(f"namespace {call.namespace} changes faster than an object can be made in it: try again")


async def _put(services: Services, call: Call, key: str, raw: bytes, guards: Sequence[Guard]) -> Stored:
    if call.dry_run:
        stale = await services.store.check(key, 0, guards)
        if stale is not None:
            raise already_exists(call.resource, call.name)
        return Stored(raw, 0)
    result = await put_leased(services, call, key, raw, 0, guards)
    if isinstance(result, Stale):
        raise already_exists(call.resource, call.name)
    services.recent.remember(key, result)
    return result


async def put_leased(
    services: Services, call: Call, key: str, raw: bytes, expected: int, guards: Sequence[Guard]
) -> Stored | Stale:
    """As ObjectStore.put; events get a lease, so that they go by themselves."""
    if not admission.is_kind(call.resource, EVENT.group, EVENT.name):
        return await services.store.put(key, raw, expected, guards)
    lease = await services.event_leases.current()
    try:
        return await services.store.put(key, raw, expected, guards, lease=lease)
    except LeaseGone:
        services.event_leases.forget(lease)
    return await services.store.put(key, raw, expected, guards, lease=await services.event_leases.current())


def _generated_name(prefix: str) -> str:
    suffix = "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))
    return prefix[: MAX_NAME_LENGTH - len(suffix)] + suffix

"""Empties namespaces that are being deleted, and removes them when nothing is left. Runs in every server."""

from __future__ import annotations

import asyncio

import structlog

from swarmkeep.apiserver import codec, delete
from swarmkeep.apiserver.authn import Role, User
from swarmkeep.apiserver.call import Call
from swarmkeep.apiserver.guards import Demands
from swarmkeep.apiserver.keys import parse_key, prefix_of
from swarmkeep.apiserver.namespaces import NAMESPACE_PREFIX
from swarmkeep.apiserver.resources import Resource
from swarmkeep.apiserver.services import Services
from swarmkeep.errors import SwarmKeepError, Unavailable

log = structlog.get_logger(__name__)

INTERVAL_S = 0.5
PAGE = 500
SERVER = User("system:apiserver", Role.ADMIN)


async def drain_namespaces(services: Services) -> None:
    """Looks for work for ever; a crash loses nothing, since the namespaces say themselves that they are to go."""
    while True:
        for name in services.namespaces.terminating():
            try:
                await drain(services, name)
            except Unavailable:
                break  # the next round is soon
            except SwarmKeepError as error:
                log.warning("cannot empty a namespace yet", namespace=name, error=str(error))
        await asyncio.sleep(INTERVAL_S)


async def drain(services: Services, name: str) -> bool:
    """Deletes what is in the namespace, and the namespace when it is empty; whether it is gone."""
    left = 0
    for resource in services.registry.all():
        if resource.namespaced:
            left += await _delete_all(services, resource, name)
    if left:
        return False
    key = NAMESPACE_PREFIX + name
    stored = await services.store.read(key)
    if stored is None:
        return True
    metadata = codec.decode(stored.raw, stored.revision)["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    return isinstance(await services.store.delete(key, stored.revision), int)


async def _delete_all(services: Services, resource: Resource, namespace: str) -> int:
    """How many objects there were."""
    call = Call(SERVER, "delete", resource, namespace, "", "", {}, Demands())
    count, start = 0, ""
    while True:
        # What finalizers hold stays at the front: behind it there may be more.
        found = await services.store.page(prefix_of(resource, namespace), limit=PAGE, start=start)
        keys = [key for item in found.items if (key := parse_key(item.key))]
        await delete.delete_each(services, call, [(key.namespace, key.name) for key in keys], None)
        count += len(keys)
        if not found.more:
            return count
        start = found.items[-1].key + "\x00"

"""The served CustomResourceDefinitions as objects: they can be listed, watched and waited for like any other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from swarmkeep.apiserver import codec
from swarmkeep.apiserver.call import utc_now
from swarmkeep.apiserver.resources import crd_objects
from swarmkeep.apiserver.system_metadata import with_generation
from swarmkeep.errors import Unavailable
from swarmkeep.etcd.port import Etcd
from swarmkeep.etcd.records import Compare, Get, Put
from swarmkeep.model.kinds import CRD
from swarmkeep.model.wire import format_time

CRD_PREFIX = f"/registry/{CRD.group}/{CRD.plural}/"
_TRIES = 5


async def publish(etcd: Etcd, documents: Iterable[Mapping[str, Any]]) -> None:
    """Writes those that etcd does not have in this form. Several servers may do so at once."""
    for obj in crd_objects(documents):
        await _publish(etcd, obj)


async def _publish(etcd: Etcd, obj: dict[str, Any]) -> None:
    key = CRD_PREFIX + obj["metadata"]["name"]
    found = await etcd.get(key)
    for _ in range(_TRIES):
        now = format_time(utc_now().replace(microsecond=0))
        if found is None:
            new = _with_times(obj, now)
        else:
            old = codec.decode(found.value, found.mod_revision)
            new = _with_times(obj, old["metadata"]["creationTimestamp"])
            new["metadata"]["generation"] = old["metadata"]["generation"]
            new = with_generation(old, new)
        raw = codec.encode(new)
        if found is not None and found.value == raw:
            return
        expected = found.mod_revision if found else 0
        result = await etcd.txn([Compare(key, "mod", expected)], [Put(key, raw)], [Get(key)])
        if result.succeeded:
            return
        found = result.answers[0]
    raise Unavailable(f"{key} changes all the time: is another version of SwarmKeep running beside this one?")


def _with_times(obj: Mapping[str, Any], created: str) -> dict[str, Any]:
    conditions = [{**condition, "lastTransitionTime": created} for condition in obj["status"]["conditions"]]
    return {
        **obj,
        "metadata": {**obj["metadata"], "creationTimestamp": created},
        "status": {**obj["status"], "conditions": conditions},
    }

"""The operator's copy of the objects never goes back in time, and finds what was deleted unnoticed."""

from __future__ import annotations

from typing import Any

from swarmkeep.controllers.cache import Cache
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT, WORKLOAD

from ..objects import workload_object

WL = Ref("default", "redis.1")


def at(version: int, **fields: Any) -> dict[str, Any]:
    obj = workload_object(**fields)
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


def ckpt(name: str, version: int, phase: str, size: int = 10) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default", "resourceVersion": str(version)},
        "spec": {"workload": "redis.1"},
        "status": {"phase": phase, "location": "main", "node": "n1", "bytes": {"stored": size}},
    }


def test_an_older_event_changes_nothing() -> None:
    cache = Cache()
    cache.apply(WORKLOAD, at(10, claim="new"))
    cache.apply(WORKLOAD, at(9, claim="old"))
    assert cache.workloads_claimed_by("new") == {WL}
    assert cache.workloads_claimed_by("old") == set()


def test_a_late_deletion_does_not_remove_what_was_made_since() -> None:
    cache = Cache()
    cache.apply(WORKLOAD, at(20))
    cache.remove(WORKLOAD, at(15))
    assert cache.get(WORKLOAD, WL) is not None
    cache.remove(WORKLOAD, at(21))
    assert cache.get(WORKLOAD, WL) is None


def test_a_relist_finds_ghosts_and_spares_what_is_newer_than_itself() -> None:
    gone: list[str] = []
    cache = Cache(lambda kind, ref, old, new: gone.append(ref.name) if new is None else None)
    cache.apply(WORKLOAD, at(5, name="ghost"))
    cache.apply(WORKLOAD, at(50, name="newer"))
    assert cache.replace_all(WORKLOAD, [at(6)], version=40) == 1
    assert gone == ["ghost"]
    assert {ref.name for ref in cache.all(WORKLOAD)} == {"redis.1", "newer"}


def test_the_indices_follow() -> None:
    cache = Cache()
    cache.apply(WORKLOAD, at(1, claim="n1", service_id="s1"))
    cache.apply(WORKLOAD, at(2, claim="n2", service_id="s2"))
    assert cache.services() == {"s2"}
    assert cache.workloads_of_service("s1") == set()
    assert cache.workloads_of_policy(Ref("default", "redis")) == [cache.get(WORKLOAD, WL)]
    cache.vanish(WORKLOAD, WL)
    assert cache.services() == set()
    assert cache.workloads_of_policy(Ref("default", "redis")) == []


def test_totals_count_what_is_stored() -> None:
    cache = Cache()
    cache.apply(CHECKPOINT, ckpt("a", 1, "Stored"))
    cache.apply(CHECKPOINT, ckpt("b", 2, "Stored", 5))
    assert cache.totals("main") == (2, 15)
    cache.apply(CHECKPOINT, ckpt("a", 3, "Deleting"))
    assert cache.totals("main") == (1, 5)
    assert cache.checkpoints_active_on("n1") == {Ref("default", "a")}
    cache.vanish(CHECKPOINT, Ref("default", "a"))
    assert cache.checkpoints_active_on("n1") == set()
    assert len(cache.checkpoints_of(WL)) == 1


def test_totals_count_each_location_that_has_a_version() -> None:
    cache = Cache()
    obj = ckpt("a", 1, "Stored")
    obj["status"]["locations"] = [
        {"name": "main", "state": "Stored", "bytes": 7},
        {"name": "far", "state": "Pending"},
    ]
    cache.apply(CHECKPOINT, obj)
    assert (cache.totals("main"), cache.totals("far")) == ((1, 7), (0, 0))
    # Somebody has to see to it that the other one gets it, should the node die.
    assert cache.checkpoints_active_on("n1") == {Ref("default", "a")}
    obj = ckpt("a", 2, "Replicated")
    obj["status"]["locations"] = [
        {"name": "main", "state": "Stored", "bytes": 7},
        {"name": "far", "state": "Stored", "bytes": 9},
    ]
    cache.apply(CHECKPOINT, obj)
    assert (cache.totals("main"), cache.totals("far")) == ((1, 7), (1, 9))
    assert cache.checkpoints_active_on("n1") == set()

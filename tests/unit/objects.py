"""Builders of what the operator's decisions are made of: nouns for plans, wire objects for the controllers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from swarmkeep.model.checkpoint import Checkpoint, CheckpointPhase, CopyState, Reason
from swarmkeep.model.ident import Ref
from swarmkeep.model.policy import Policy, parse_policy
from swarmkeep.model.swarm import Mode, Service, Task
from swarmkeep.model.workload import Workload, parse_workload
from swarmkeep.plan.workers import Worker

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
API = "swarmkeep.dev/v1alpha1"


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def stamp(seconds_ago: float = 0) -> str:
    return ago(seconds_ago).isoformat().replace("+00:00", "Z")


def policy_object(
    name: str = "redis", namespace: str = "default", *, age_s: float = 100, **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": "CheckpointPolicy",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "generation": 1,
            "resourceVersion": "5",
            "uid": f"uid-{name}",
            "creationTimestamp": stamp(age_s),
        },
        "spec": {"selector": {"service": "redis"}, "schedule": {"every": "10s"}, "storage": ["main"], **spec},
    }


def policy(name: str = "redis", namespace: str = "default", **fields: Any) -> Policy:
    return parse_policy(policy_object(name, namespace, **fields))


def workload_object(
    name: str = "redis.1",
    *,
    claim: str = "n1",
    claim_epoch: int = 1,
    slot: int = 1,
    service_id: str = "svc1",
    **status: Any,
) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": "Workload",
        "metadata": {"name": name, "namespace": "default", "generation": 1, "resourceVersion": "7", "uid": name},
        "spec": {
            "policy": "redis",
            "type": "ReplicatedTask",
            "service": {"id": service_id, "name": "redis"},
            "slot": slot,
            "forceUpdate": 0,
        },
        "status": {"phase": "Running", "claim": {"node": claim, "epoch": claim_epoch}, "specHash": "hash", **status},
    }


def workload(name: str = "redis.1", **fields: Any) -> Workload:
    return parse_workload(workload_object(name, **fields))


def newest(number: int = 5, age_s: float = 3, spec_hash: str = "hash") -> dict[str, Any]:
    return {"number": number, "takenAt": stamp(age_s), "specHash": spec_hash, "reason": "Schedule"}


def checkpoint(
    number: int | None = 1,
    phase: CheckpointPhase = CheckpointPhase.STORED,
    *,
    name: str | None = None,
    age_s: float = 60,
    **fields: Any,
) -> Checkpoint:
    defaults: dict[str, Any] = {
        "ref": Ref("default", name or f"redis.1-v{number}"),
        "resource_version": "9",
        "created_at": ago(age_s),
        "deleting": False,
        "finalizers": ("swarmkeep.dev/data",) if phase in (CheckpointPhase.STORED, CheckpointPhase.REPLICATED) else (),
        "workload": "redis.1",
        "reason": Reason.SCHEDULE,
        "pinned": False,
        "phase": phase,
        "version": number,
        "node": "n1",
        "location": "main" if number else "",
        "copies": {"main": CopyState.STORED} if number else {},
        "taken_at": ago(age_s) if number else None,
        "spec_hash": "hash",
        "stored_bytes": 1000,
    }
    return Checkpoint(**{**defaults, **fields})


def worker(name: str = "n1", *locations: str, ready: bool = True) -> Worker:
    return Worker(name, ready, frozenset(locations or ("main",)))


def service(
    name: str = "redis", *, id: str = "svc1", mode: Mode = Mode.REPLICATED, age_s: float = 500, **fields: Any
) -> Service:
    return Service(
        id=id,
        name=name,
        mode=mode,
        replicas=1,
        image="redis:7",
        force_update=fields.pop("force_update", 0),
        created_at=ago(age_s),
        **fields,
    )


def task(
    slot: int | None = 1,
    *,
    id: str = "t1",
    service_id: str = "svc1",
    node_id: str = "id1",
    state: str = "running",
    desired: str = "running",
    age_s: float = 100,
) -> Task:
    return Task(id, service_id, slot, node_id, state, desired, "c", "", ago(age_s), ago(age_s))

"""Carries plans out: the only place where the operator writes. Decides nothing.

Every write is fenced with the leader's token, and its answer goes into the cache at once: the next plan sees it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, assert_never

from swarmkeep.controllers.cache import Cache, Obj, version_of
from swarmkeep.errors import Conflict, NotFound
from swarmkeep.kube.answers import AlreadyExists
from swarmkeep.kube.client import Client, Fence
from swarmkeep.kube.events import EventKind, EventRecorder
from swarmkeep.model.checkpoint import DATA_FINALIZER, CheckpointPhase
from swarmkeep.model.conditions import merge_conditions
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import (
    CHECKPOINT,
    LABEL_CONTAINER,
    LABEL_POLICY,
    LABEL_SERVICE,
    MIGRATION,
    NODE,
    WORKLOAD,
    Kind,
)
from swarmkeep.model.wire import section
from swarmkeep.obs import operator_metrics as metrics
from swarmkeep.plan.actions import (
    Action,
    AssignCheckpoint,
    Constrain,
    DropCheckpoint,
    FailCheckpoint,
    GiveOrder,
    Plan,
    PutWorkload,
    Release,
    SendContainer,
    SetFinalizers,
    StatusPatch,
    Tell,
    VerifyCheckpoint,
    WishCheckpoint,
    WorkloadSpec,
)
from swarmkeep.swarm.port import Swarm

RARELY_S = 60.0
"""How often the same is told of the same object at most, where the plan asks for that."""
LABEL_LIMIT = 63


class Executor:
    """Needs a leader's fence."""

    def __init__(
        self,
        client: Client,
        cache: Cache,
        recorder: EventRecorder,
        fence: Fence | None,
        swarm: Swarm,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._cache = cache
        self._recorder = recorder
        self._fence = fence
        self._swarm = swarm
        self._clock = clock
        self._told: dict[tuple[str, str], float] = {}

    async def carry_out(self, kind: Kind, ref: Ref, plan: Plan, now: datetime) -> bool:
        """Does the actions in their order, then writes the status if it differs. Returns whether it wrote anything.

        Stops at the first error: Conflict (somebody was faster: read, decide again), NotFound, Unavailable, ...
        """
        for action in plan.actions:
            await self._do(kind, ref, action)
        written = await self._write_status(kind, ref, plan.status, now) if plan.status is not None else False
        return written or bool(plan.actions)

    async def refresh(self, kind: Kind, ref: Ref) -> None:
        """Reads an object anew into the cache."""
        try:
            self._cache.apply(kind, await self._client.get(kind, ref.name, ref.namespace or None))
        except NotFound:
            self._cache.vanish(kind, ref)

    async def _do(self, kind: Kind, ref: Ref, action: Action) -> None:
        match action:
            case PutWorkload():
                await self._put_workload(action)
            case GiveOrder():
                await self._give_order(action)
            case AssignCheckpoint():
                await self._assign(action)
            case VerifyCheckpoint():
                status = {"verification": dict(action.order)}
                await self._patch(CHECKPOINT, action.ref, {"status": status}, action.resource_version, "status")
            case FailCheckpoint():
                failed = {"phase": str(CheckpointPhase.FAILED), "message": action.message}
                await self._patch(CHECKPOINT, action.ref, {"status": failed}, action.resource_version, "status")
            case DropCheckpoint():
                await self._drop(action)
            case WishCheckpoint():
                await self._wish(action)
            case SetFinalizers():
                patch = {"metadata": {"finalizers": list(action.finalizers) or None}}
                await self._patch(MIGRATION, action.ref, patch, action.resource_version)
            case SendContainer():
                status = {"placement": dict(action.placement)}
                await self._patch(WORKLOAD, action.ref, {"status": status}, action.resource_version, "status")
            case Constrain():
                await self._swarm.constrain(action.service_id, action.constraints, action.version)
            case Release():
                await self._swarm.release(action.service_id, action.constraints, action.version)
            case Tell():
                self._tell(kind, ref, action)
            case _:
                assert_never(action)

    async def _put_workload(self, action: PutWorkload) -> None:
        ref, spec = action.ref, action.spec
        labels = {LABEL_POLICY: spec.policy, LABEL_SERVICE: spec.service_name, LABEL_CONTAINER: spec.container or ""}
        labels = {name: value for name, value in labels.items() if 0 < len(value) <= LABEL_LIMIT}
        known = self._cache.get(WORKLOAD, ref)
        if known is not None:
            patch = {"metadata": {"labels": labels}, "spec": workload_spec(spec)}
            await self._patch(WORKLOAD, ref, patch, str(known["metadata"]["resourceVersion"]))
            return
        body = {
            "metadata": {"name": ref.name, "namespace": ref.namespace, "labels": labels},
            "spec": {name: value for name, value in workload_spec(spec).items() if value is not None},
        }
        try:
            self._cache.apply(WORKLOAD, await self._client.create(WORKLOAD, body, ref.namespace, fence=self._fence))
        except AlreadyExists:
            # The first answer was lost, or our knowledge is behind: decide again about what is there.
            await self.refresh(WORKLOAD, ref)
            raise

    async def _give_order(self, action: GiveOrder) -> None:
        order = action.order
        wire = None
        if order is not None:
            wire = {
                "uid": order.id,
                "restore": order.restore,
                "version": order.version,
                "when": "Now" if order.ends_task else "NextStart",
                "keepCurrent": order.keep,
            }
        status = {"order": wire, "orderRefused": None}
        await self._patch(WORKLOAD, action.ref, {"status": status}, action.resource_version, "status")

    async def _assign(self, action: AssignCheckpoint) -> None:
        version = action.resource_version
        known = section(self._cache.get(CHECKPOINT, action.ref) or {}, "metadata", "labels")
        if any(known.get(name) != value for name, value in action.labels.items()):
            changed = await self._patch(CHECKPOINT, action.ref, {"metadata": {"labels": dict(action.labels)}}, version)
            version = str(changed["metadata"]["resourceVersion"])
        status = {"phase": str(action.phase), "node": action.node}
        await self._patch(CHECKPOINT, action.ref, {"status": status}, version, "status")
        metrics.ASSIGNMENTS.labels(str(action.phase), action.why).inc()

    async def _drop(self, action: DropCheckpoint) -> None:
        known = self._cache.get(CHECKPOINT, action.ref)
        version = action.resource_version
        try:
            if known is not None and DATA_FINALIZER in (known["metadata"].get("finalizers") or ()):
                patch = {"metadata": {"finalizers": list(action.finalizers) or None}}
                changed = await self._patch(CHECKPOINT, action.ref, patch, version)
                version = str(changed["metadata"]["resourceVersion"])
            if not action.deleting:
                await self._client.delete(
                    CHECKPOINT, action.ref.name, action.ref.namespace, resource_version=version, fence=self._fence
                )
        except NotFound:
            pass  # that is what was wanted
        await self.refresh(CHECKPOINT, action.ref)

    async def _wish(self, action: WishCheckpoint) -> None:
        ref = action.ref
        body = {
            "metadata": {"name": ref.name, "namespace": ref.namespace, "labels": dict(action.labels)},
            "spec": {"workload": action.workload, "reason": "OnDemand"},
        }
        try:
            self._cache.apply(CHECKPOINT, await self._client.create(CHECKPOINT, body, ref.namespace, fence=self._fence))
        except AlreadyExists:
            await self.refresh(CHECKPOINT, ref)
            labels = section(self._cache.get(CHECKPOINT, ref) or {}, "metadata", "labels")
            if any(labels.get(name) != value for name, value in action.labels.items()):
                raise

    def _tell(self, kind: Kind, ref: Ref, action: Tell) -> None:
        kind, ref = (WORKLOAD, action.workload) if action.workload is not None else (kind, ref)
        obj = self._cache.get(kind, ref)
        if obj is None or (action.rarely and not self._is_time((f"{kind.name}/{ref}", action.reason))):
            return
        if kind is NODE and action.warning:
            metrics.NODES_LOST.inc()
        about = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": obj["metadata"]}
        self._recorder.record(
            about, EventKind.WARNING if action.warning else EventKind.NORMAL, action.reason, action.message
        )

    def _is_time(self, what: tuple[str, str]) -> bool:
        now = self._clock()
        if now - self._told.get(what, float("-inf")) < RARELY_S:
            return False
        if len(self._told) > 10_000:
            self._told = {key: at for key, at in self._told.items() if now - at < RARELY_S}
        self._told[what] = now
        return True

    async def _write_status(self, kind: Kind, ref: Ref, patch: StatusPatch, now: datetime) -> bool:
        obj = self._cache.get(kind, ref)
        if obj is None:
            return False
        changes = status_changes(obj, patch, now)
        if not changes:
            return False
        version = str(obj["metadata"]["resourceVersion"]) if patch.guarded else None
        await self._patch(kind, ref, {"status": changes}, version, "status")
        return True

    async def _patch(
        self, kind: Kind, ref: Ref, patch: dict[str, Any], version: str | None, subresource: str = ""
    ) -> Obj:
        if version is not None:
            patch = {**patch, "metadata": {**patch.get("metadata", {}), "resourceVersion": version}}
        namespace = ref.namespace or None
        try:
            changed = await self._client.patch(
                kind, ref.name, patch, namespace, subresource=subresource, fence=self._fence
            )
        except (Conflict, NotFound):
            await self.refresh(kind, ref)
            raise
        if version_of(changed):
            self._cache.apply(kind, changed)
        return changed


def workload_spec(spec: WorkloadSpec) -> dict[str, Any]:
    """`spec` of a Workload object; a None stands for a field that must not be there."""
    if spec.container is not None:
        container = {"policy": spec.policy, "type": "Container", "container": {"name": spec.container}}
        return container | {"service": None, "slot": None, "nodeID": None, "forceUpdate": None}
    return {
        "policy": spec.policy,
        "type": "GlobalTask" if spec.slot is None else "ReplicatedTask",
        "container": None,
        "service": {"id": spec.service_id, "name": spec.service_name},
        "slot": spec.slot,
        "nodeID": spec.node_id,
        "forceUpdate": spec.force_update,
    }


def status_changes(obj: Obj, patch: StatusPatch, now: datetime) -> dict[str, Any]:
    """The merge patch that makes an object's status say what it should; empty when it does already."""
    current = section(obj, "status")
    changes = {name: value for name, value in patch.fields.items() if _bare(current.get(name)) != _bare(value)}
    if patch.conditions:
        before = list(current.get("conditions") or ())
        generation = int(obj["metadata"].get("generation") or 1)
        conditions = merge_conditions(before, patch.conditions, now, generation)
        if conditions != before:
            changes["conditions"] = conditions
    return changes


def _bare(value: Any) -> Any:
    """Without the fields that say nothing: an absent field and a None are the same."""
    if isinstance(value, Mapping):
        return {name: _bare(item) for name, item in value.items() if item is not None} or None
    return value

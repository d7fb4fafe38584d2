"""Takes back what a migration has said to the Swarm or to an agent, whatever came of it. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from swarmkeep.model.migration import FINALIZER, StopOrder
from swarmkeep.model.wire import format_time
from swarmkeep.model.workload import Workload
from swarmkeep.plan.actions import Plan, Release, SendContainer, SetFinalizers, StatusPatch
from swarmkeep.plan.migration_steps import LOOK_AGAIN
from swarmkeep.plan.migration_view import MigrationView, was_stopped, workload_of

STOP_SETTLE = timedelta(seconds=30)
"""After the order to stop a container was withdrawn: how long an agent that had begun may need to end it."""
RETURN_LIMIT = timedelta(minutes=10)
"""How long, after a failure, it is waited for to run somewhere."""


def clear_up(view: MigrationView, now: datetime) -> Plan:
    """Finished, or deleted in the middle: what the Swarm was told is taken back, then the object may go."""
    item = view.migration
    if item.is_binding:
        return take_back(view, now)
    if FINALIZER not in item.finalizers:
        return Plan("")
    left = tuple(name for name in item.finalizers if name != FINALIZER)
    return Plan("", (SetFinalizers(item.ref, item.resource_version, left),))


def take_back(view: MigrationView, now: datetime) -> Plan:
    """Takes back what the Swarm was told. Whether it was told at all does not matter."""
    item = view.migration
    if item.stop is not None:
        return _withdraw(view, item.stop, now)
    if item.placement is None:
        return Plan("")
    placement = item.placement
    step = Release(placement.service_id, placement.constraints, placement.service_version)
    done = replace(placement, returned_at=now)
    text = f"{item.ref}: the Swarm may place the tasks as before"
    return Plan(text, (step,), StatusPatch({"placement": done.wire()}), now)


def _withdraw(view: MigrationView, order: StopOrder, now: datetime) -> Plan:
    """No agent may begin to stop the container any more; then it is waited for until somebody has it."""
    item, workload = view.migration, view.scene.workload
    withdrawn_at = order.withdrawn_at or now
    settled = StatusPatch({"stop": replace(order, withdrawn_at=withdrawn_at, settled_at=now).wire()}, guarded=True)
    if workload is None or (workload.claim.node and workload.claim.epoch > item.epoch):
        return Plan("", status=settled, wake_at=now)
    if order.withdrawn_at is None:
        status = StatusPatch({"stop": replace(order, withdrawn_at=now).wire()}, guarded=True)
        return Plan(f"{item.ref}: the order to stop {workload_of(view)} is withdrawn", status=status, wake_at=now)
    if now >= withdrawn_at + RETURN_LIMIT:
        return Plan("", status=settled, wake_at=now)
    if workload.claim.node:
        # Its agent may have begun right before.
        due = withdrawn_at + STOP_SETTLE
        return Plan("", status=settled, wake_at=now) if now >= due else Plan("", wake_at=due)
    if not was_stopped(workload):
        return Plan("", status=settled, wake_at=now)
    source, sent = view.scene.source, workload.placement
    back = item.to if source is None or source.lost else item.source
    if sent is not None and sent.epoch == workload.claim.epoch and (sent.node == back or sent.node != item.to):
        return Plan("", wake_at=withdrawn_at + RETURN_LIMIT)
    text = f"{back} is to go on with {workload_of(view)}"
    return Plan(text, (send(view, workload, back, now),), wake_at=now + LOOK_AGAIN)


def send(view: MigrationView, workload: Workload, node: str, now: datetime) -> SendContainer:
    """Has a node go on with a plain container."""
    placement = {
        "node": node,
        "reason": "Migration",
        "message": f"for migration {view.migration.ref.name}",
        "at": format_time(now),
        "epoch": workload.claim.epoch,
    }
    return SendContainer(workload.ref, workload.resource_version, placement)

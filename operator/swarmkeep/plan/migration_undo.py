"""Takes back what a migration has said to the Swarm or to an agent, whatever came of it. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from swarmkeep.model.migration import FINALIZER, StopOrder
from swarmkeep.model.wire import format_time
from swarmkeep.model.workload import Workload
from swarmkeep.plan.actions import Plan, Release, SendContainer, SetFinalizers, StatusPatch
from swarmkeep.plan.migration_steps import LOOK_AGAIN, says
from swarmkeep.plan.migration_view import MigrationView, was_stopped, workload_of

STOP_SETTLE = timedelta(minutes=3)
"""After the order to stop a container was withdrawn: how long an agent that had begun may need to end it.

A stop may wait two minutes for its turn, and then takes the container's stop timeout.
"""
RETURN_LIMIT = timedelta(minutes=10)
"""How long, after a failure, it is waited for to run somewhere."""
END_AGAIN = timedelta(seconds=30)
"""How often it is looked whether a stop that takes long is over."""


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
    if workload.claim.node:
        return _await_end(view, settled, withdrawn_at, now)
    if not was_stopped(workload):
        return Plan("", status=settled, wake_at=now)
    back = item.to if _has_no_source(view) else item.source
    sent, due = workload.placement, withdrawn_at + RETURN_LIMIT
    if sent is not None and sent.epoch >= item.epoch and (sent.node == back or sent.node != item.to):
        if now >= due:
            return Plan("", status=settled, wake_at=now)
        if sent.epoch == workload.claim.epoch:
            return Plan("", wake_at=due)
    # However late it is: nobody else does.
    text = f"{back} is to go on with {workload_of(view)}"
    return Plan(text, (send(view, workload, back, now),), wake_at=now + LOOK_AGAIN)


def _await_end(view: MigrationView, settled: StatusPatch, withdrawn_at: datetime, now: datetime) -> Plan:
    """The claim is where it was. Its agent may have begun right before: then it goes back when the stop is over.

    That is when the final version is safe, which takes as long as the storage is away.
    """
    # Of a node that is lost, or a container that has no policy any more, nothing may ever be heard.
    silent = _has_no_source(view) or view.scene.policy is None
    due = withdrawn_at + (RETURN_LIMIT if silent else STOP_SETTLE)
    if now < due:
        return Plan("", wake_at=due)
    if silent or view.runs_at_source:
        return Plan("", status=settled, wake_at=now)
    item = view.migration
    text = f"{item.source} is ending {workload_of(view)}: it goes on when its final version is stored"
    return Plan("", status=says(f"{item.failure}; {text}" if item.failure else text), wake_at=now + END_AGAIN)


def _has_no_source(view: MigrationView) -> bool:
    return view.scene.source is None or view.scene.source.lost


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

"""Which node takes a version that a user asked for, and which removes one that goes. Used by the operator.

A version's data lies in a StorageLocation that only nodes can reach: whatever has to be done with it is given to one,
through `status.phase` and `status.node` of its Checkpoint, and that node's agent does it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from swarmkeep.model.checkpoint import DATA_FINALIZER, Checkpoint, CheckpointPhase
from swarmkeep.model.kinds import LABEL_NODE, LABEL_POLICY, LABEL_WORKLOAD
from swarmkeep.model.workload import Phase, Workload
from swarmkeep.plan.actions import AssignCheckpoint, DropCheckpoint, FailCheckpoint, Plan, StatusPatch
from swarmkeep.plan.verification import plan_verification
from swarmkeep.plan.workers import LOOK_AGAIN, Worker, choose_worker

PENDING_LIMIT = timedelta(minutes=5)
"""How long a version that a user asked for may wait for its turn on the node."""


@dataclass(frozen=True, slots=True)
class CheckpointView:
    """Everything that the decision about one Checkpoint needs."""

    checkpoint: Checkpoint
    made_by_agent: bool
    """It says which node made it: then it is a record, not a wish."""
    workload: Workload | None
    workers: tuple[Worker, ...]
    location_known: bool
    """Whether there is a StorageLocation of the name that the version was written to."""


def plan_checkpoint(view: CheckpointView, now: datetime) -> Plan:
    """What to do about one version."""
    item = view.checkpoint
    if item.deleting or item.phase is CheckpointPhase.DELETING:
        return _plan_removal(view, now)
    if item.phase is CheckpointPhase.NEW:
        return Plan("") if view.made_by_agent else _plan_wish(view, now)
    if item.phase is CheckpointPhase.PENDING:
        return _plan_waiting(view, now)
    if item.phase in (CheckpointPhase.DUMPING, CheckpointPhase.STORING):
        return _plan_running(view, now)
    if item.phase is CheckpointPhase.STORED:
        return plan_verification(item, view.workload, view.workers, view.location_known, now)
    return Plan("")


def removal(
    item: Checkpoint, workload: Workload | None, workers: Iterable[Worker], why: str
) -> AssignCheckpoint | DropCheckpoint | None:
    """The step that lets a version go; None when no node can do it now."""
    if item.version is None or not item.location:
        left = tuple(finalizer for finalizer in item.finalizers if finalizer != DATA_FINALIZER)
        return DropCheckpoint(item.ref, item.resource_version, left, item.deleting)
    preferred = [item.node] if item.phase is CheckpointPhase.DELETING else []
    preferred += [workload.claim.node] if workload and workload.claim.node else []
    node = choose_worker(item.location, workers, [*preferred, item.node])
    if node is None:
        return None
    # The label is what lets an agent write the object, and the node that took the version may be another.
    labels = {LABEL_NODE: node}
    return AssignCheckpoint(item.ref, item.resource_version, CheckpointPhase.DELETING, node, why, labels)


def _plan_removal(view: CheckpointView, now: datetime) -> Plan:
    item = view.checkpoint
    if item.deleting and DATA_FINALIZER not in item.finalizers:
        # Somebody else's finalizer holds the object; there is nothing of ours left to do.
        return Plan("")
    step = removal(item, view.workload, view.workers, "Requested" if item.deleting else "Moved")
    if step is None:
        what = "no node that is ready reaches" if view.location_known else "there is no StorageLocation"
        text = f"cannot delete the data yet: {what} {item.location}"
        return Plan(text, status=StatusPatch({"message": text}), wake_at=now + LOOK_AGAIN)
    if isinstance(step, AssignCheckpoint):
        if item.phase is CheckpointPhase.DELETING and item.node == step.node:
            return Plan("", wake_at=now + LOOK_AGAIN)
        return Plan(f"{step.node} deletes {item.ref}", (step,), wake_at=now + LOOK_AGAIN)
    return Plan(f"{item.ref} holds no data", (step,))


def _plan_wish(view: CheckpointView, now: datetime) -> Plan:
    """A user wants a version now."""
    item, workload = view.checkpoint, view.workload
    if workload is None:
        return _fail(view, f"there is no workload {item.workload} in namespace {item.ref.namespace}")
    problem = _cannot_be_taken(view, workload)
    if problem:
        return _fail(view, problem)
    node = workload.claim.node
    labels = {LABEL_WORKLOAD: workload.ref.name, LABEL_POLICY: workload.policy, LABEL_NODE: node}
    step = AssignCheckpoint(item.ref, item.resource_version, CheckpointPhase.PENDING, node, "OnDemand", labels)
    return Plan(f"{node} takes {item.ref}", (step,), wake_at=now + LOOK_AGAIN)


def _plan_waiting(view: CheckpointView, now: datetime) -> Plan:
    item, workload = view.checkpoint, view.workload
    if workload is None:
        return _fail(view, f"the workload {item.workload} is gone")
    due = item.created_at + PENDING_LIMIT if item.created_at else now + PENDING_LIMIT
    if now >= due:
        minutes = PENDING_LIMIT.total_seconds() / 60
        return _fail(view, f"{item.node} has not taken it within {minutes:g} minutes; see the workload's status")
    holder = workload.claim.node
    if holder and holder != item.node and _worker(view, holder).ready:
        labels = {LABEL_NODE: holder}
        step = AssignCheckpoint(item.ref, item.resource_version, CheckpointPhase.PENDING, holder, "Moved", labels)
        return Plan(f"{holder} takes {item.ref} instead of {item.node}", (step,), wake_at=due)
    return Plan("", wake_at=due)


def _plan_running(view: CheckpointView, now: datetime) -> Plan:
    """Being taken: only the node's loss ends that from outside."""
    item = view.checkpoint
    worker = _worker(view, item.node)
    if worker.ready:
        return Plan("")
    started = item.created_at or now
    if now < started + LOOK_AGAIN:
        return Plan("", wake_at=started + LOOK_AGAIN)
    return _fail(view, f"{item.node} was lost before the version was finished")


def _cannot_be_taken(view: CheckpointView, workload: Workload) -> str:
    node = workload.claim.node
    if workload.phase is not Phase.RUNNING or not node:
        return f"workload {workload.ref} is {workload.phase}, not Running: there is nothing to take a version of"
    if not _worker(view, node).ready:
        return f"{node}, which runs workload {workload.ref}, is not ready"
    return ""


def _worker(view: CheckpointView, name: str) -> Worker:
    return next((worker for worker in view.workers if worker.name == name), Worker(name, False, frozenset()))


def _fail(view: CheckpointView, message: str) -> Plan:
    item = view.checkpoint
    return Plan(f"{item.ref}: {message}", (FailCheckpoint(item.ref, item.resource_version, message),))

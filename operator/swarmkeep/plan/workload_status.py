"""What is true of a workload, beyond what its agent says; and which of its versions go. Used by the operator.

Of `status` the agent writes what happens to the container and the claim. The operator writes `swarm` and `conditions`,
and the phase only where no agent can: before one came (Pending), after its node was lost (Lost), and when nothing
wants the workload any more (Stopped).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from swarmkeep.model.checkpoint import Checkpoint
from swarmkeep.model.conditions import Condition, Status, find_condition
from swarmkeep.model.node import SeenContainer
from swarmkeep.model.policy import Policy
from swarmkeep.model.swarm import Task
from swarmkeep.model.wire import format_time
from swarmkeep.model.workload import Phase, Workload
from swarmkeep.plan.actions import Action, AssignCheckpoint, DropCheckpoint, Plan, StatusPatch, Tell
from swarmkeep.plan.assignments import removal
from swarmkeep.plan.container_failover import Failover, FailoverView, plan_failover
from swarmkeep.plan.crashes import crash_loop
from swarmkeep.plan.drift import Drift, misplaced, overdue, unwanted_cold_start
from swarmkeep.plan.pruning import plan_pruning
from swarmkeep.plan.restore_tests import plan_test_restore, restorable
from swarmkeep.plan.schedule import overdue_after
from swarmkeep.plan.scrub import must_note_scrub, plan_scrub
from swarmkeep.plan.standby import StandbyNode, plan_standby
from swarmkeep.plan.verification import intact
from swarmkeep.plan.workers import Worker

PRUNED_AT_ONCE = 20
"""Versions of one workload that are let go in one cycle, so that no workload keeps the others waiting."""


class Place(StrEnum):
    """Whether there still is a place for the workload: in the Swarm, or for a plain container on a node."""

    WANTED = "Wanted"
    NOT_WANTED = "NotWanted"
    """The service was scaled down, or its task has ended for good. A plain container is stopped."""
    SERVICE_GONE = "ServiceGone"
    CONTAINER_GONE = "ContainerGone"
    """It was removed."""
    UNKNOWN = "Unknown"
    """The Swarm cannot be asked now."""


@dataclass(frozen=True, slots=True)
class WorkloadView:
    """Everything that the decision about one workload needs."""

    workload: Workload
    generation: int
    has_phase: bool
    failure: str
    """Why the last version could not be taken; empty when it could."""
    started_at: datetime | None
    """When its container came up."""
    conditions: tuple[Mapping[str, Any], ...]
    policy: Policy | None
    """None when the policy is gone or says what cannot be done."""
    selected: bool
    """Whether that policy still selects the service."""
    place: Place
    task: Task | None
    task_node: str
    """Name of the node that the task is on; empty when it is on none."""
    node_lost: bool
    """The node that holds the claim is lost."""
    checkpoints: tuple[Checkpoint, ...]
    workers: tuple[Worker, ...]
    scrub_interval: timedelta = timedelta()
    """How often each version is read back unasked; zero for never."""
    standbys: tuple[StandbyNode, ...] = ()
    """All nodes, as far as they may keep it ready; none when nothing wants that."""
    moving_to: str = ""
    """The node that a migration brings its versions to; empty when none does."""
    constraints: tuple[str, ...] = ()
    """Those of its service."""
    containers: tuple[SeenContainer, ...] = ()
    """Plain containers of its name, as the nodes' agents report them."""
    failover: FailoverView | None = None
    """Where a plain container could go on whose node is lost; None for all others."""
    order_stands: bool = True
    """False when it has an order for its next start whose Restore was deleted."""


def plan_workload(view: WorkloadView, now: datetime) -> Plan:
    """The workload's phase, conditions and prunes."""
    protected, protected_until = _protected(view, now)
    drift, drift_due = _drift(view, now)
    phase = _phase(view)
    actions: list[Action] = []
    said: list[str] = []
    if phase is not None:
        said.append(f"{view.workload.ref} is {phase}")
        if phase is Phase.LOST:
            text = f"{view.workload.claim.node} is lost, which had the right to run it"
            actions.append(Tell(True, "NodeLost", text))
    if drift is not None and not _holds(view.conditions, "Drift", drift.reason):
        said.append(f"drift: {drift.message}")
        actions.append(Tell(True, "Drift", drift.message))
    pruned, prune_due = _prune(view, now)
    if pruned:
        said.append(f"{view.workload.ref} lets go of " + ", ".join(item.ref.name for item in pruned))
        actions += pruned
        rules = view.policy.retention if view.policy else "nothing"
        text = f"lets go of versions that its policy's retention ({rules}) does not keep"
        actions.append(Tell(False, "Pruned", text, rarely=True))
    whole = intact(view.checkpoints)
    if whole.status is Status.FALSE and not _says(view.conditions, whole):
        actions.append(Tell(True, "VersionDamaged", whole.message))
    every = view.policy.restore_every if view.policy else 0
    test = plan_test_restore(view.checkpoints, view.workload, view.workers, every, now)
    scrub, scrub_due = None, None
    if test is not None and not pruned:
        said.append(f"{test.order['node']} test-restores {test.ref.name}")
        actions.append(test)
    else:
        scrub, scrub_due = plan_scrub(view.checkpoints, view.workload, view.workers, view.scrub_interval, now)
    if scrub is not None and not pruned:
        said.append(f"{scrub.order['node']} reads {scrub.ref.name} back")
        actions.append(scrub)
    shown = Condition("Drift", Status.TRUE, drift.reason, drift.message) if drift else _no_drift()
    fields: dict[str, Any] = {"observedGeneration": view.generation}
    if view.place is not Place.UNKNOWN:
        fields["swarm"] = _swarm(view)
    if phase is not None:
        fields["phase"] = str(phase)
    given = scrub is not None and not pruned
    if must_note_scrub(view.checkpoints, view.workload, view.scrub_interval, now, given=given):
        fields["scrubbedAt"] = format_time(now)
    conditions = [protected, shown, whole]
    tested = restorable(view.checkpoints)
    if tested is not None or every or find_condition(view.conditions, "Restorable") is not None:
        tested = tested or Condition("Restorable", Status.UNKNOWN, "NotTested", "no version was test-restored yet")
        conditions.append(tested)
        if tested.status is Status.FALSE and not _says(view.conditions, tested):
            actions.append(Tell(True, "TestRestoreFailed", tested.message))
    if view.workload.crashes is not None or find_condition(view.conditions, "CrashLoop") is not None:
        loop = crash_loop(view.workload)
        conditions.append(loop)
        if loop.status is Status.TRUE and not _holds(view.conditions, "CrashLoop", loop.reason):
            said.append(f"{view.workload.ref} is in a crash loop")
            actions.append(Tell(True, "CrashLoop", loop.message))
    asked = bool(view.moving_to) or (view.policy is not None and view.policy.restore.warm_standby > 0)
    wanted = view.policy is not None and view.selected and asked
    if wanted or view.workload.standby or find_condition(view.conditions, "Standby") is not None:
        locations = view.policy.locations if view.policy else ()
        # The tasks of a global service never go to another node.
        movable = view.workload.slot is not None or view.workload.container_name is not None
        wanted = wanted and view.place in (Place.WANTED, Place.UNKNOWN) and movable
        node, standby = plan_standby(
            view.workload, wanted, locations, view.standbys, node_lost=view.node_lost, moving_to=view.moving_to
        )
        conditions.append(standby)
        if node != (view.workload.standby or None):
            fields["standby"] = {"node": node} if node else None
            said.append(f"{node or 'no node'} keeps {view.workload.ref} ready")
    failover = Failover()
    if view.workload.container_name is not None:
        failover = plan_failover(view.workload, view.policy, view.conditions, view.failover, now)
    conditions += failover.conditions
    fields |= failover.fields or {}
    if failover.tell is not None:
        said.append(failover.tell.message)
        actions.append(failover.tell)
    if not view.order_stands:
        fields |= {"order": None, "orderRefused": None}
        said.append(f"{view.workload.ref} needs no Restore any more")
    guarded = phase is not None or failover.fields is not None or not view.order_stands
    return Plan(
        "; ".join(said),
        tuple(actions),
        StatusPatch(fields, tuple(conditions), guarded=guarded),
        min((at for at in (protected_until, drift_due, prune_due, scrub_due) if at is not None), default=None),
    )


def _protected(view: WorkloadView, now: datetime) -> tuple[Condition, datetime | None]:
    """The condition, and when it would change by itself."""
    workload, policy, newest = view.workload, view.policy, view.workload.newest
    if policy is None:
        return _unprotected("PolicyGone", f"its policy {workload.policy} does not exist or cannot be carried out"), None
    if not view.selected:
        return _unprotected("NotSelected", f"policy {policy.ref.name} does not select {workload.source} now"), None
    if view.place is Place.SERVICE_GONE:
        text = f"the service {workload.service_name} is gone; its versions stay until somebody deletes them"
        return _unprotected("ServiceGone", text), None
    if view.place is Place.CONTAINER_GONE:
        text = f"no node has {workload.source} any more; its versions stay until somebody deletes them"
        return _unprotected("ContainerGone", text), None
    if view.place is Place.NOT_WANTED:
        text = "the Swarm wants no task in its place now; its versions stay, for when it wants one again"
        if workload.container_name is not None:
            text = f"{workload.source} does not run now; its versions stay, for when it is started again"
        return _unprotected("NotWanted", text), None
    because = f": {view.failure}" if view.failure else ""
    if newest is None:
        return _unprotected("NoVersion", f"no version was taken yet{because}"), None
    damaged = {item.version for item in view.checkpoints if item.is_damaged}
    if newest.number in damaged:
        good = max((item.version or 0 for item in view.checkpoints if item.is_good), default=0)
        left = f"version {good} is the newest good one" if good else "there is no good one"
        return _unprotected("Damaged", f"its newest version, {newest.number}, is damaged in storage: {left}"), None
    if workload.spec_hash and newest.spec_hash and newest.spec_hash != workload.spec_hash:
        text = f"version {newest.number} was taken before its specification changed{because}"
        return _unprotected("SpecChanged", text), None
    limit = overdue_after(policy)
    if now >= newest.taken_at + limit:
        why = "the policy is suspended" if policy.suspend else view.failure
        text = f"version {newest.number} is older than {limit.total_seconds():g} s" + (f": {why}" if why else "")
        return _unprotected("Suspended" if policy.suspend else "Overdue", text), None
    text = f"its newest version is younger than {limit.total_seconds():g} s"
    return Condition("Protected", Status.TRUE, "Protected", text), newest.taken_at + limit


def _drift(view: WorkloadView, now: datetime) -> tuple[Drift | None, datetime | None]:
    cold = unwanted_cold_start(view.workload, view.checkpoints)
    if cold is not None:
        return cold, None
    if view.policy is None or not view.selected or view.place is not Place.WANTED:
        return None, None
    elsewhere, due = misplaced(view.workload, view.task, view.task_node, now)
    if elsewhere is not None:
        return elsewhere, None
    return overdue(view.workload, view.policy, view.started_at, now), due


def _phase(view: WorkloadView) -> Phase | None:
    """The phase that the operator has to write; None to leave it to the agent."""
    workload = view.workload
    claimed = bool(workload.claim.node)
    if view.place in (Place.SERVICE_GONE, Place.CONTAINER_GONE, Place.NOT_WANTED):
        idle = not claimed or view.node_lost
        return Phase.STOPPED if idle and (workload.phase is not Phase.STOPPED or not view.has_phase) else None
    if claimed and view.node_lost:
        return None if workload.phase in (Phase.LOST, Phase.STOPPED) else Phase.LOST
    if claimed and workload.phase is Phase.LOST and view.place is Place.WANTED:
        # The node is back before anybody took its claim. Its agent goes on, and says so only if something changes.
        runs = view.task is not None and view.task.state == "running" and view.task_node == workload.claim.node
        runs = runs or any(item.running and item.node == workload.claim.node for item in view.containers)
        return Phase.RUNNING if runs else None
    return None if view.has_phase else Phase.PENDING


def _prune(view: WorkloadView, now: datetime) -> tuple[list[AssignCheckpoint | DropCheckpoint], datetime | None]:
    """The versions that go in this cycle, and when to look at them again."""
    pruning = plan_pruning(view.workload, view.policy, view.checkpoints, now, node_lost=view.node_lost)
    steps = [removal(item, view.workload, view.workers, "Pruned") for item in pruning.going[:PRUNED_AT_ONCE]]
    more = len(pruning.going) > PRUNED_AT_ONCE and None not in steps
    return [step for step in steps if step is not None], now if more else pruning.wake_at


def _swarm(view: WorkloadView) -> dict[str, Any] | None:
    task = view.task
    if task is None and not view.constraints:
        return None
    return {
        "taskID": task.id if task else None,
        "node": view.task_node or None,
        "state": task.state if task else None,
        "desiredState": task.desired_state if task else None,
        "message": (task.message if task else "") or None,
        "constraints": list(view.constraints) or None,
    }


def _unprotected(reason: str, message: str) -> Condition:
    return Condition("Protected", Status.FALSE, reason, message)


def _no_drift() -> Condition:
    return Condition("Drift", Status.FALSE, "AsPromised", "it is as its policy promises")


def _says(conditions: tuple[Mapping[str, Any], ...], wanted: Condition) -> bool:
    found = find_condition(conditions, wanted.type)
    return found is not None and (found.get("status"), found.get("message")) == (wanted.status, wanted.message)


def _holds(conditions: tuple[Mapping[str, Any], ...], type_: str, reason: str) -> bool:
    found = find_condition(conditions, type_)
    return found is not None and found.get("status") == Status.TRUE and found.get("reason") == reason

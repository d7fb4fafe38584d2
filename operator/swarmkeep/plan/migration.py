"""How a workload is moved to another node with its state, step by step. Used by the operator.

The Swarm itself moves the task: it is told where the task may be, stops it in the ordinary way (with a final version)
and starts it there (restored from that version). So no failure can end with two running copies, and each ends with the
Swarm free to run it anywhere again: what it was told is noted before it is said, and taken back whatever comes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from swarmkeep.model.migration import FINALIZER, MigrationPhase, Mode, Placement, StopOrder
from swarmkeep.model.workload import Workload
from swarmkeep.plan.actions import Action, Constrain, Plan, SetFinalizers, StatusPatch, Tell
from swarmkeep.plan.migration_steps import LOOK_AGAIN, fail, refuse, says, to_phase
from swarmkeep.plan.migration_undo import RETURN_LIMIT, clear_up, send, take_back
from swarmkeep.plan.migration_view import (
    MigrationView,
    departure,
    figures,
    is_container,
    is_final,
    is_wanted,
    may_yet_stop,
    mishap,
    phase_limit,
    pull_note,
    refusal,
    runs_on,
    version_of,
    was_stopped,
    workload_of,
)
from swarmkeep.plan.moving import constraints_for, obstacles
from swarmkeep.plan.pre_copy import pre_copy

RECORD_LIMIT = timedelta(seconds=30)
"""How long after a start the record of its version is waited for."""


def plan_migration(view: MigrationView, now: datetime) -> Plan:
    """The next step."""
    item = view.migration
    if item.deleting or item.finished:
        return clear_up(view, now)
    if item.failure:
        return _give_up(view, now)
    if not view.swarm_known and not is_container(view):
        # Nothing can be judged, and nothing taken back: it comes back, or another operator leads.
        return Plan("", status=says("the Swarm cannot be asked now"), wake_at=now + LOOK_AGAIN)
    match item.phase:
        case MigrationPhase.NEW:
            return _admit(view, now)
        case MigrationPhase.PENDING:
            return _begin(view, now)
        case MigrationPhase.PRE_COPYING:
            return pre_copy(view, now) or _stop(view, now)
        case MigrationPhase.MOVING:
            return _move(view, now)
        case _:
            return _restore(view, now)


def _admit(view: MigrationView, now: datetime) -> Plan:
    problem = refusal(view)
    if problem:
        return refuse(view, now, problem)
    item, workload = view.migration, view.scene.workload
    source, epoch = (workload.claim.node, workload.claim.epoch) if workload else ("", 0)
    if item.dry_run:
        text = f"nothing was moved: {workload_of(view)} could go from {source} to {item.to}{pull_note(view)}"
        return to_phase(view, MigrationPhase.DONE, now, text, {"from": source, "runsOn": source})
    fields = {"workload": item.workload, "from": source, "to": item.to, "epoch": epoch}
    return to_phase(view, MigrationPhase.PENDING, now, f"{workload_of(view)} goes from {source} to {item.to}", fields)


def _begin(view: MigrationView, now: datetime) -> Plan:
    problem = refusal(view) or departure(view)
    if problem:
        return refuse(view, now, problem)
    item = view.migration
    if item.mode is Mode.PRE_COPY:
        text = f"versions of it are brought to {item.to} while it runs on {item.source}"
        return to_phase(view, MigrationPhase.PRE_COPYING, now, text)
    return _stop(view, now)


def _stop(view: MigrationView, now: datetime) -> Plan:
    """Notes what the Swarm, or the container's agent, will be told. The telling is the next step."""
    item, service, workload = view.migration, view.scene.service, view.scene.workload
    hold: tuple[Action, ...] = ()
    if FINALIZER not in item.finalizers:
        hold = (SetFinalizers(item.ref, item.resource_version, (*item.finalizers, FINALIZER)),)
    fields: dict[str, Any]
    if workload is not None and workload.container_name is not None:
        order = StopOrder(item.source, workload.container_id or "", item.epoch)
        fields = {"stop": {**order.wire(), "withdrawnAt": None, "settledAt": None}}
    else:
        constraints = constraints_for(view.scene)
        if service is None or not constraints:
            return refuse(view, now, f"the constraints of the service hold its tasks on {item.to} already")
        fields = {"placement": {**Placement(service.id, constraints, service.version).wire(), "returnedAt": None}}
    tell = Tell(False, "Moving", f"is stopped on {item.source}, to go on on {item.to}", workload=workload_of(view))
    text = f"{workload_of(view)} is being stopped on {item.source}"
    plan = to_phase(view, MigrationPhase.MOVING, now, text, fields, tell)
    return replace(plan, actions=(*hold, *plan.actions))


def _move(view: MigrationView, now: datetime) -> Plan:
    item, scene = view.migration, view.scene
    problem = mishap(view, now)
    if problem:
        return fail(view, now, problem)
    if item.stop is not None and scene.workload is not None:
        return _move_container(view, scene.workload, now)
    placement, service, workload = item.placement, scene.service, scene.workload
    if placement is None or service is None or workload is None:
        return fail(view, now, "its status does not say what the Swarm was told")
    if workload.claim.epoch > item.epoch or not workload.claim.node:
        text = f"{workload_of(view)} has ended on {item.source}, and comes up on {item.to}"
        return to_phase(view, MigrationPhase.RESTORING, now, text)
    if set(placement.constraints) <= set(service.constraints):
        return Plan("", wake_at=phase_limit(item, now))
    if service.version == placement.service_version:
        step = Constrain(service.id, placement.constraints, placement.service_version)
        return Plan(f"{item.ref}: the Swarm moves the task to {item.to}", (step,), wake_at=now + LOOK_AGAIN)
    # The service was changed by somebody, in between or after. As long as it may still be moved, that is tried anew.
    found = obstacles(scene, item.to)
    if found:
        return fail(view, now, "the service was changed meanwhile: " + "; ".join(found))
    anew = Placement(service.id, constraints_for(scene), service.version)
    return Plan("", status=StatusPatch({"placement": anew.wire()}, guarded=True), wake_at=now)


def _move_container(view: MigrationView, workload: Workload, now: datetime) -> Plan:
    """The agent of its node reads the order in the status. When it has ended there the target goes on with it."""
    item = view.migration
    text = f"{workload_of(view)} has ended on {item.source}, and comes up on {item.to}"
    if workload.claim.epoch > item.epoch:
        return to_phase(view, MigrationPhase.RESTORING, now, text)
    if workload.claim.node:
        return Plan("", wake_at=phase_limit(item, now))
    if not was_stopped(workload):
        return fail(view, now, f"it has ended by itself on {item.source}")
    plan = to_phase(view, MigrationPhase.RESTORING, now, text)
    return replace(plan, actions=(send(view, workload, item.to, now), *plan.actions))


def _restore(view: MigrationView, now: datetime) -> Plan:
    item = view.migration
    where = runs_on(view)
    if not where:
        problem = mishap(view, now)
        return fail(view, now, problem) if problem else Plan("", wake_at=phase_limit(item, now))
    if item.is_binding:
        return take_back(view, now)
    return _finish(view, now, where)


def _finish(view: MigrationView, now: datetime, where: str) -> Plan:
    """It runs: how did that go?"""
    item, workload = view.migration, view.scene.workload
    start = workload.last_start if workload else None
    fields: dict[str, Any] = {"runsOn": where}
    problem = item.failure
    final = version_of(view, start.version if start else None)
    if final is None and start is not None and start.restored and start.at and now < start.at + RECORD_LIMIT:
        # The version is there, its record follows.
        return Plan("", wake_at=now + LOOK_AGAIN)
    if not problem and where != item.to:
        problem = f"it came up on {where} instead of {item.to}"
    if start is not None and workload is not None and workload.claim.epoch > item.epoch:
        fields |= figures(view, final)
        if not start.restored:
            problem = problem or f"it started fresh ({start.reason})"
        elif not is_final(view, final):
            lost = f"no final version could be taken; it went on from version {start.version}"
            problem = problem or f"{lost}, and what came after that is lost"
    if problem:
        return to_phase(view, MigrationPhase.FAILED, now, f"{problem}; it runs on {where}", fields)
    took = f", it stood still for {fields['downtimeSeconds']:.1f} s" if "downtimeSeconds" in fields else ""
    return to_phase(view, MigrationPhase.DONE, now, f"{workload_of(view)} runs on {where}{took}", fields)


def _give_up(view: MigrationView, now: datetime) -> Plan:
    """A failure is noted: the Swarm is free again, and then it is seen where the workload runs."""
    item = view.migration
    if item.is_binding:
        return take_back(view, now)
    known = view.swarm_known or is_container(view)
    where = runs_on(view) if known else ""
    if where and not may_yet_stop(view, now):
        return _finish(view, now, where)
    returned_at = item.placement.returned_at if item.placement else item.stop.settled_at if item.stop else None
    due = (returned_at or item.phase_since or now) + RETURN_LIMIT
    if now >= due or (known and not is_wanted(view.scene)):
        text = f"{item.failure}; it runs nowhere now: see docker service ps, and describe wl {item.workload}"
        return to_phase(view, MigrationPhase.FAILED, now, text)
    return Plan("", wake_at=min(due, now + LOOK_AGAIN))

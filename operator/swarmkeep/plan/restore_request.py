"""What becomes of one Restore: the order for the workload's next start, how that goes, how it ends. By the operator.

The order lies on the Workload, where whichever node gets the next task sees it; the Restore says how far it is. What is
known of an order that was answered lies on the Workload as well: so any step may be repeated, and any process may die.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from swarmkeep.model.checkpoint import Checkpoint
from swarmkeep.model.conditions import Condition, Status
from swarmkeep.model.restore import RestorePhase, RestoreRequest
from swarmkeep.model.wire import format_time
from swarmkeep.model.workload import Order, Phase, Start, Workload
from swarmkeep.plan.actions import Action, GiveOrder, Plan, StatusPatch, Tell
from swarmkeep.plan.rollback import Goal, choose
from swarmkeep.plan.workload_status import Place

LOOK_AGAIN = timedelta(seconds=5)
START_LIMIT = timedelta(minutes=15)
"""How much longer a start that is under way may take: it may have to read a big version from slow storage."""
CLOCKS = timedelta(seconds=5)
"""How far the clocks of two nodes may be apart."""


@dataclass(frozen=True, slots=True)
class RestoreView:
    """Everything that the decision about one Restore needs."""

    request: RestoreRequest
    workload: Workload | None
    protected: bool
    """A policy that can be carried out selects it."""
    place: Place
    restarts: bool
    """Whether Swarm makes another task when one has ended."""
    task_id: str
    """The task that Swarm wants now; empty when it wants none."""
    task_message: str
    """What Swarm says of it."""
    rival: str
    """Something else that is under way with the workload; empty for nothing."""
    checkpoints: tuple[Checkpoint, ...]


def plan_restore(view: RestoreView, now: datetime) -> Plan:
    """What to do about one Restore."""
    request, workload = view.request, view.workload
    answer = _answer(request, workload)
    if answer is not None and (not request.is_over or (answer.obeyed and request.phase is RestorePhase.FAILED)):
        return _answered(view, answer)
    ours = workload is not None and workload.order is not None and workload.order.id == request.id
    if request.is_over:
        if not ours or workload is None:
            return Plan("")
        return Plan(f"{request.ref} takes its order back", (GiveOrder(workload.ref, workload.resource_version, None),))
    if workload is None:
        return _fail(view, f"there is no workload {request.workload} in namespace {request.ref.namespace}", now)
    if not ours:
        if request.started_at is not None:
            text = "its order was lost: the workload was deleted and made anew. Nothing is waited for any more"
            return _fail(view, text, now)
        return _begin(view, workload, now)
    if request.started_at is None:
        # The order was given, and whoever gave it died before it could say so here.
        return Plan("", status=_begun(view, workload, workload.order, now), wake_at=now)
    return _proceed(view, workload, request.started_at, now)


def _answer(request: RestoreRequest, workload: Workload | None) -> Start | None:
    """The start that has answered its order."""
    if workload is None:
        return None
    starts = [start for start in (workload.last_start, *reversed(workload.past_starts)) if start is not None]
    return next((start for start in starts if start.order == request.id), None)


def _begin(view: RestoreView, workload: Workload, now: datetime) -> Plan:
    request = view.request
    if view.rival:
        return _fail(view, f"{view.rival} is under way with {workload.ref}; wait for it to end, or delete it", now)
    if workload.container_name is not None:
        return _fail(view, "a plain container cannot be brought back yet: only tasks of services can", now)
    if not view.protected:
        return _fail(view, f"no policy protects {workload.ref} now: nobody would carry it out", now)
    if view.place is Place.UNKNOWN:
        text = "waits until the Swarm can be asked"
        fields = {"phase": str(RestorePhase.PENDING), "message": text}
        return Plan("", status=StatusPatch(fields, (_open("WaitsForSwarm", text),)), wake_at=now + LOOK_AGAIN)
    if view.place is Place.SERVICE_GONE:
        return _fail(view, f"the service {workload.service_name} is gone", now)
    if request.now and view.place is Place.NOT_WANTED:
        text = "Swarm wants no task in its place now: scale the service up, or use when: NextStart"
        return _fail(view, text, now)
    if request.now and not view.restarts:
        text = (
            f"Swarm would make no task after this one: service {workload.service_name} has restart-condition none. "
            "Nothing was stopped. Change it with docker service update --restart-condition any, or use when: NextStart"
        )
        return _fail(view, text, now)
    chosen = choose(Goal(request.version, request.time, request.fresh), workload, view.checkpoints)
    if isinstance(chosen, str):
        return _fail(view, chosen, now)
    order = Order(request.id, request.ref.name, chosen.version if chosen else None, request.now, request.keep)
    goal = _goal(order.version)
    return Plan(
        f"{workload.ref} is to be brought back to {goal} for {request.ref}",
        (GiveOrder(workload.ref, workload.resource_version, order), Tell(False, "Ordered", f"wants {goal}")),
        _begun(view, workload, order, now),
        now + LOOK_AGAIN,
    )


def _begun(view: RestoreView, workload: Workload, order: Order | None, now: datetime) -> StatusPatch:
    number = order.version if order is not None else None
    taken = next((item.taken_at for item in view.checkpoints if item.version == number and number is not None), None)
    phase, text = _progress(view, workload, workload.claim.epoch)
    fields = {
        "phase": str(phase),
        "version": number,
        "takenAt": format_time(taken) if taken else None,
        "startedAt": format_time(now),
        "epoch": workload.claim.epoch,
        "taskBefore": view.task_id or None,
        "message": text,
    }
    return StatusPatch(fields, (_open(str(phase), text),))


def _proceed(view: RestoreView, workload: Workload, started_at: datetime, now: datetime) -> Plan:
    request = view.request
    if workload.refusal is not None and workload.refusal.order == request.id:
        text = f"the task runs on, since no last version of it could be taken: {workload.refusal.message}"
        return _fail(view, f"{text}. To go back without one: keepCurrent: false", now)
    if view.place is Place.SERVICE_GONE:
        return _fail(view, f"the service {workload.service_name} is gone", now)
    phase, text = _progress(view, workload, request.epoch)
    due = None
    if request.now:
        due = started_at + request.timeout
        if workload.phase is Phase.RESTORING and workload.claim.epoch > request.epoch:
            due += START_LIMIT
        if now >= due:
            return _fail(view, _overdue(view, workload, phase, due - started_at), now)
    fields: dict[str, Any] = {"phase": str(phase), "message": text}
    kept = _kept(workload, started_at)
    if kept is not None:
        fields["keptVersion"] = kept
    return Plan("", status=StatusPatch(fields, (_open(str(phase), text),)), wake_at=due)


def _progress(view: RestoreView, workload: Workload, epoch: int) -> tuple[RestorePhase, str]:
    goal = _goal(workload.order.version if workload.order else view.request.chosen)
    if not view.request.now:
        return RestorePhase.PENDING, f"its next start is {goal}, whenever that comes"
    if workload.claim.node and workload.claim.epoch <= epoch and workload.phase is not Phase.RESTORING:
        how = "with a last version" if view.request.keep else "without keeping its state"
        return RestorePhase.STOPPING, f"{workload.claim.node} ends the task that runs, {how}"
    where = f" on {workload.claim.node}" if workload.claim.node else ""
    return RestorePhase.RESTORING, f"the next task comes up{where}: {goal}"


def _overdue(view: RestoreView, workload: Workload, phase: RestorePhase, passed: timedelta) -> str:
    limit = f"within {passed.total_seconds():g} s"
    if phase is RestorePhase.STOPPING:
        node = workload.claim.node
        return (
            f"{node} has not given the task up {limit}: is its agent ready, and its storage within reach? Either "
            "the task runs on as it is, or it has ended, its last version waits for storage, and it goes on from that"
        )
    said = f"; Swarm says: {view.task_message}" if view.task_message else ""
    return (
        f"no task has come up {limit}{said}. See docker service ps {workload.service_name}. The next one is not bound "
        "to this any more, and goes on from where the last one was"
    )


def _answered(view: RestoreView, answer: Start) -> Plan:
    request, workload = view.request, view.workload
    kept = _kept(workload, request.started_at) if workload is not None and request.started_at else None
    came_up = f"version {answer.version}" if answer.restored else "nothing"
    fields: dict[str, Any] = {
        "phase": str(RestorePhase.DONE if answer.obeyed else RestorePhase.FAILED),
        "taskID": answer.task_id or None,
        "node": answer.node or None,
        "seconds": answer.seconds,
        "finishedAt": format_time(answer.at) if answer.at else None,
    }
    if kept is not None:
        fields["keptVersion"] = kept
    if answer.obeyed:
        text = f"came up from {came_up} on {answer.node}"
        text += f" in {answer.seconds:.2f} s" if answer.seconds is not None and answer.restored else ""
        text += f"; version {kept} holds what was before" if kept is not None else ""
        condition = Condition("Done", Status.TRUE, "Fresh" if request.fresh else "RolledBack", text)
    else:
        text = f"{answer.message}; it goes on from {came_up} on {answer.node}"
        condition = Condition("Done", Status.FALSE, "Failed", text)
    fields["message"] = text
    reason = "RestoreDone" if answer.obeyed else "RestoreFailed"
    tell = Tell(not answer.obeyed, reason, text)
    return Plan(f"{request.ref}: {text}", (tell,), StatusPatch(fields, (condition,)))


def _kept(workload: Workload, started_at: datetime) -> int | None:
    """The version that was taken as the task was ended for it."""
    end = workload.last_end
    recent = end is not None and end.at is not None and end.at >= started_at - CLOCKS
    return end.final_version if end is not None and recent else None


def _goal(version: int | None) -> str:
    return f"version {version}" if version is not None else "a fresh start"


def _open(reason: str, message: str) -> Condition:
    return Condition("Done", Status.UNKNOWN, reason, message)


def _fail(view: RestoreView, message: str, now: datetime) -> Plan:
    fields = {"phase": str(RestorePhase.FAILED), "message": message, "finishedAt": format_time(now)}
    actions: tuple[Action, ...] = (Tell(True, "RestoreFailed", message),)
    status = StatusPatch(fields, (Condition("Done", Status.FALSE, "Failed", message),))
    return Plan(f"{view.request.ref}: {message}", actions, status, now)

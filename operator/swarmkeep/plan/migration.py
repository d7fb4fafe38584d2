"""How a workload is moved to another node with its state, step by step. Used by the operator.

The Swarm itself moves the task: it is told where the task may be, stops it in the ordinary way (with a final version)
and starts it there (restored from that version). So no failure can end with two running copies, and each ends with the
Swarm free to run it anywhere again: what it was told is noted before it is said, and taken back whatever comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from swarmkeep.model.checkpoint import Checkpoint, CheckpointPhase, Reason
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import LABEL_MIGRATION
from swarmkeep.model.migration import FINALIZER, Migration, MigrationPhase, Mode, Placement, Round, StopOrder
from swarmkeep.model.swarm import Task
from swarmkeep.model.wire import format_time
from swarmkeep.model.workload import End, Phase, Workload
from swarmkeep.plan.actions import (
    Action,
    Constrain,
    Plan,
    Release,
    SendContainer,
    SetFinalizers,
    StatusPatch,
    Tell,
    WishCheckpoint,
)
from swarmkeep.plan.moving import Scene, Side, constraints_for, obstacles
from swarmkeep.plan.resolve import running_task

LOOK_AGAIN = timedelta(seconds=2)
SMALL_BYTES = 4 << 20
"""A round that wrote no more than this is the last: the final version will not be much larger."""
SHRINK = 0.7
"""A round that wrote more than this share of the one before is the last: it does not get smaller any more."""
MAX_ROUNDS = 6
ROUNDS_LIMIT = timedelta(minutes=10)
"""No further round begins after this long."""
ROUND_LIMIT = timedelta(minutes=15)
"""The longest that one version may take to be stored and brought to the target; the first may be large."""
MOVE_LIMIT = timedelta(minutes=5)
"""The longest that it may take until the old task has ended, and then until the new one runs."""
SETTLE = timedelta(seconds=5)
"""After the Swarm was told that all is as before: how long it may yet do what it had begun."""
STOP_SETTLE = timedelta(seconds=30)
"""After the order to stop a container was withdrawn: how long an agent that had begun may need to end it."""
RECORD_LIMIT = timedelta(seconds=30)
"""How long after a start the record of its version is waited for."""
RETURN_LIMIT = timedelta(minutes=10)
"""How long, after a failure, it is waited for to run somewhere."""


@dataclass(frozen=True, slots=True)
class MigrationView:
    """Everything that the decision about one Migration needs."""

    migration: Migration
    scene: Scene
    swarm_known: bool
    rivals: tuple[Migration, ...]
    """The other open migrations of the workload."""
    hindrance: str
    """Something else that is under way with the workload; empty when nothing is."""
    checkpoints: tuple[Checkpoint, ...]
    """The workload's versions, those that were asked for included."""
    clock_offsets: Mapping[str, float]
    """How far each node's clock is ahead of the API server's, in seconds, as far as known."""


def plan_migration(view: MigrationView, now: datetime) -> Plan:
    """The next step."""
    item = view.migration
    if item.deleting or item.finished:
        return _clear_up(view, now)
    if item.failure:
        return _give_up(view, now)
    if not view.swarm_known and not _is_container(view):
        # Nothing can be judged, and nothing taken back: it comes back, or another operator leads.
        return Plan("", status=_says("the Swarm cannot be asked now"), wake_at=now + LOOK_AGAIN)
    match item.phase:
        case MigrationPhase.NEW:
            return _admit(view, now)
        case MigrationPhase.PENDING:
            return _begin(view, now)
        case MigrationPhase.PRE_COPYING:
            return _pre_copy(view, now)
        case MigrationPhase.MOVING:
            return _move(view, now)
        case _:
            return _restore(view, now)


def _admit(view: MigrationView, now: datetime) -> Plan:
    problem = _refusal(view)
    if problem:
        return _refuse(view, now, problem)
    item, workload = view.migration, view.scene.workload
    source, epoch = (workload.claim.node, workload.claim.epoch) if workload else ("", 0)
    if item.dry_run:
        text = f"nothing was moved: {_ref(view)} could go from {source} to {item.to}{_pull_note(view)}"
        return _to(view, MigrationPhase.DONE, now, text, {"from": source, "runsOn": source})
    fields = {"from": source, "epoch": epoch}
    return _to(view, MigrationPhase.PENDING, now, f"{_ref(view)} goes from {source} to {item.to}", fields)


def _begin(view: MigrationView, now: datetime) -> Plan:
    problem = _refusal(view) or _left(view)
    if problem:
        return _refuse(view, now, problem)
    item = view.migration
    if item.mode is Mode.PRE_COPY:
        text = f"versions of it are brought to {item.to} while it runs on {item.source}"
        return _to(view, MigrationPhase.PRE_COPYING, now, text)
    return _stop(view, now)


def _pre_copy(view: MigrationView, now: datetime) -> Plan:
    """Rounds: a version is taken, and brought to the target, until the next would not be much smaller."""
    item = view.migration
    problem = _refusal(view) or _left(view)
    if problem:
        return _refuse(view, now, problem)
    if not item.rounds:
        return _next_round(view, now)
    last = item.rounds[-1]
    if last.ready_at is not None:
        if another_round(item.rounds, now):
            return _next_round(view, now)
        return _stop(view, now)
    if now - last.started_at >= ROUND_LIMIT:
        minutes = ROUND_LIMIT.total_seconds() / 60
        where = "stored" if last.version is None else f"on {item.to}"
        because = view.scene.target.standby_message if view.scene.target else ""
        text = f"round {last.number}: its version was not {where} within {minutes:g} minutes"
        return _refuse(view, now, f"{text}: {because}" if because else text)
    wish = next((one for one in view.checkpoints if one.ref.name == last.checkpoint), None)
    if last.version is None:
        if wish is None or wish.phase is CheckpointPhase.FAILED:
            why = "its version was deleted" if wish is None else "no version could be taken; see the Checkpoint"
            return _refuse(view, now, f"round {last.number}: {why} {last.checkpoint}")
        if not wish.finished or wish.version is None:
            return Plan("", wake_at=last.started_at + ROUND_LIMIT)
        stored = replace(last, version=wish.version, bytes=wish.stored_bytes)
        return Plan("", status=_rounds(item, stored), wake_at=now + LOOK_AGAIN)
    ready = view.scene.target.standby_version if view.scene.target else None
    if ready is None or ready < last.version:
        return Plan("", wake_at=last.started_at + ROUND_LIMIT)
    done = replace(last, ready_at=now)
    text = f"{item.ref}: {item.to} has version {last.version} of {_ref(view)}, round {last.number}"
    return Plan(text, status=_rounds(item, done), wake_at=now)


def another_round(rounds: Sequence[Round], now: datetime) -> bool:
    """Whether one more version makes the last step shorter."""
    last, before = rounds[-1], rounds[-2] if len(rounds) > 1 else None
    if len(rounds) >= MAX_ROUNDS or now - rounds[0].started_at >= ROUNDS_LIMIT:
        return False
    if before is None:
        # What was written while the target got its first version, which may have taken long, is not known yet.
        return True
    wrote = last.bytes or 0
    return wrote > SMALL_BYTES and wrote <= SHRINK * (before.bytes or 0)


def _next_round(view: MigrationView, now: datetime) -> Plan:
    item = view.migration
    number = len(item.rounds) + 1
    name = f"{item.ref.name}-{item.uid[:8]}-r{number}"
    # The name says whose it is: asked for twice, it is there once.
    wish = WishCheckpoint(Ref(item.ref.namespace, name), item.workload, {LABEL_MIGRATION: item.uid})
    text = f"{item.ref}: round {number}"
    return Plan(text, (wish,), _rounds(item, Round(number, name, now)), now + LOOK_AGAIN)


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
            return _refuse(view, now, f"the constraints of the service hold its tasks on {item.to} already")
        fields = {"placement": {**Placement(service.id, constraints, service.version).wire(), "returnedAt": None}}
    tell = Tell(False, "Moving", f"is stopped on {item.source}, to go on on {item.to}", workload=_ref(view))
    plan = _to(view, MigrationPhase.MOVING, now, f"{_ref(view)} is being stopped on {item.source}", fields, tell)
    return replace(plan, actions=(*hold, *plan.actions))


def _move(view: MigrationView, now: datetime) -> Plan:
    item, scene = view.migration, view.scene
    problem = _mishap(view, now)
    if problem:
        return _fail(view, now, problem)
    if item.stop is not None and scene.workload is not None:
        return _move_container(view, scene.workload, now)
    placement, service, workload = item.placement, scene.service, scene.workload
    if placement is None or service is None or workload is None:
        return _fail(view, now, "its status does not say what the Swarm was told")
    if workload.claim.epoch > item.epoch or not workload.claim.node:
        text = f"{_ref(view)} has ended on {item.source}, and comes up on {item.to}"
        return _to(view, MigrationPhase.RESTORING, now, text)
    if set(placement.constraints) <= set(service.constraints):
        return Plan("", wake_at=_limit(item, now))
    if service.version == placement.service_version:
        step = Constrain(service.id, placement.constraints, placement.service_version)
        return Plan(f"{item.ref}: the Swarm moves the task to {item.to}", (step,), wake_at=now + LOOK_AGAIN)
    # The service was changed by somebody, in between or after. As long as it may still be moved, that is tried anew.
    found = obstacles(scene, item.to)
    if found:
        return _fail(view, now, "the service was changed meanwhile: " + "; ".join(found))
    anew = Placement(service.id, constraints_for(scene), service.version)
    return Plan("", status=StatusPatch({"placement": anew.wire()}, guarded=True), wake_at=now)


def _move_container(view: MigrationView, workload: Workload, now: datetime) -> Plan:
    """The agent of its node reads the order in the status. When it has ended there the target goes on with it."""
    item = view.migration
    text = f"{_ref(view)} has ended on {item.source}, and comes up on {item.to}"
    if workload.claim.epoch > item.epoch:
        return _to(view, MigrationPhase.RESTORING, now, text)
    if workload.claim.node:
        return Plan("", wake_at=_limit(item, now))
    if not _was_stopped(workload):
        return _fail(view, now, f"it has ended by itself on {item.source}")
    plan = _to(view, MigrationPhase.RESTORING, now, text)
    return replace(plan, actions=(_send(view, workload, item.to, now), *plan.actions))


def _send(view: MigrationView, workload: Workload, node: str, now: datetime) -> SendContainer:
    placement = {
        "node": node,
        "reason": "Migration",
        "message": f"for migration {view.migration.ref.name}",
        "at": format_time(now),
        "epoch": workload.claim.epoch,
    }
    return SendContainer(workload.ref, workload.resource_version, placement)


def _was_stopped(workload: Workload) -> bool:
    return workload.last_end is not None and workload.last_end.how is End.STOPPED


def _restore(view: MigrationView, now: datetime) -> Plan:
    item = view.migration
    where = runs_on(view)
    if not where:
        problem = _mishap(view, now)
        return _fail(view, now, problem) if problem else Plan("", wake_at=_limit(item, now))
    if item.is_binding:
        return _return(view, now)
    return _finish(view, now, where)


def _finish(view: MigrationView, now: datetime, where: str) -> Plan:
    """It runs: how did that go?"""
    item, workload = view.migration, view.scene.workload
    start = workload.last_start if workload else None
    fields: dict[str, Any] = {"runsOn": where}
    problem = item.failure
    final = _version(view, start.version if start else None)
    if final is None and start is not None and start.restored and start.at and now < start.at + RECORD_LIMIT:
        # The version is there, its record follows.
        return Plan("", wake_at=now + LOOK_AGAIN)
    if not problem and where != item.to:
        problem = f"the Swarm has placed it on {where}"
    if start is not None and workload is not None and workload.claim.epoch > item.epoch:
        fields |= _figures(view, final)
        if not start.restored:
            problem = problem or f"it started fresh ({start.reason})"
        elif not _is_final(view, final):
            lost = f"no final version could be taken; it went on from version {start.version}"
            problem = problem or f"{lost}, and what came after that is lost"
    if problem:
        return _to(view, MigrationPhase.FAILED, now, f"{problem}; it runs on {where}", fields)
    took = f", it stood still for {fields['downtimeSeconds']:.1f} s" if "downtimeSeconds" in fields else ""
    return _to(view, MigrationPhase.DONE, now, f"{_ref(view)} runs on {where}{took}", fields)


def _give_up(view: MigrationView, now: datetime) -> Plan:
    """A failure is noted: the Swarm is free again, and then it is seen where the workload runs."""
    item = view.migration
    if item.is_binding:
        return _return(view, now)
    known = view.swarm_known or _is_container(view)
    where = runs_on(view) if known else ""
    if where and not _may_yet_stop(view, now):
        return _finish(view, now, where)
    returned_at = item.placement.returned_at if item.placement else item.stop.settled_at if item.stop else None
    due = (returned_at or item.phase_since or now) + RETURN_LIMIT
    if now >= due or (known and not _is_wanted(view.scene)):
        text = f"{item.failure}; it runs nowhere now: see docker service ps, and describe wl {item.workload}"
        return _to(view, MigrationPhase.FAILED, now, text)
    return Plan("", wake_at=min(due, now + LOOK_AGAIN))


def _may_yet_stop(view: MigrationView, now: datetime) -> bool:
    """It seems to run on as before, but the Swarm was told to move it a moment ago and may be about to."""
    workload, placement = view.scene.workload, view.migration.placement
    if workload is None or placement is None or placement.returned_at is None:
        return False
    return workload.claim.epoch == view.migration.epoch and now < placement.returned_at + SETTLE


def _is_container(view: MigrationView) -> bool:
    """Whether it is a plain container, which is none of the Swarm's business."""
    return view.scene.workload is not None and view.scene.workload.container_name is not None


def _is_wanted(scene: Scene) -> bool:
    """Whether the Swarm has a place for it, though there may be no task in that just now."""
    slot = scene.workload.slot if scene.workload is not None else None
    if scene.workload is not None and scene.workload.container_name is not None:
        return True
    if scene.service is None or slot is None:
        return False
    return any(_wants(scene, slot)) or sum(task.wanted for task in scene.tasks) < scene.service.replicas


def _wants(scene: Scene, slot: int) -> Iterator[Task]:
    return (task for task in scene.tasks if task.wanted and task.slot == slot)


def _clear_up(view: MigrationView, now: datetime) -> Plan:
    """Finished, or deleted in the middle: what the Swarm was told is taken back, then the object may go."""
    item = view.migration
    if item.is_binding:
        return _return(view, now)
    if FINALIZER not in item.finalizers:
        return Plan("")
    left = tuple(name for name in item.finalizers if name != FINALIZER)
    return Plan("", (SetFinalizers(item.ref, item.resource_version, left),))


def _return(view: MigrationView, now: datetime) -> Plan:
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
        return Plan(f"{item.ref}: the order to stop {_ref(view)} is withdrawn", status=status, wake_at=now)
    if now >= withdrawn_at + RETURN_LIMIT:
        return Plan("", status=settled, wake_at=now)
    if workload.claim.node:
        # Its agent may have begun right before.
        due = withdrawn_at + STOP_SETTLE
        return Plan("", status=settled, wake_at=now) if now >= due else Plan("", wake_at=due)
    if not _was_stopped(workload):
        return Plan("", status=settled, wake_at=now)
    source, sent = view.scene.source, workload.placement
    back = item.to if source is None or source.lost else item.source
    if sent is not None and sent.epoch == workload.claim.epoch and (sent.node == back or sent.node != item.to):
        return Plan("", wake_at=withdrawn_at + RETURN_LIMIT)
    text = f"{back} is to go on with {_ref(view)}"
    return Plan(text, (_send(view, workload, back, now),), wake_at=now + LOOK_AGAIN)


def runs_on(view: MigrationView) -> str:
    """The node on which it runs with nobody meaning to stop it; empty when that is not so, or not certain."""
    workload = view.scene.workload
    if workload is None or workload.phase is not Phase.RUNNING:
        return ""
    if workload.container_name is not None:
        # Its claim goes as soon as its process does, and the next one is of the next epoch.
        stale = view.migration.phase is MigrationPhase.RESTORING and workload.claim.epoch == view.migration.epoch
        lost = any(one is not None and one.lost and one.name == workload.claim.node for one in _sides(view))
        return "" if stale or lost else workload.claim.node
    task = running_task(workload.slot, view.scene.tasks)
    holder = next((node for node in view.scene.nodes if task is not None and node.id == task.node_id), None)
    if task is None or holder is None or not holder.ready:
        return ""
    start = workload.last_start
    came_up = workload.claim.epoch == view.migration.epoch or (start is not None and start.task_id == task.id)
    side = next((one for one in _sides(view) if one is not None and one.swarm == holder), None)
    name = side.name if side is not None else holder.hostname
    return name if came_up and name == workload.claim.node and not (side is not None and side.lost) else ""


def _sides(view: MigrationView) -> tuple[Side | None, ...]:
    return view.scene.source, view.scene.target


def _mishap(view: MigrationView, now: datetime) -> str:
    """What has happened while the task is between two nodes, or takes too long."""
    item, scene = view.migration, view.scene
    if scene.workload is None:
        return f"the workload {item.workload} was deleted"
    target = scene.target
    if scene.workload.container_name is None:
        if scene.service is None:
            return "the service was removed"
        if not _is_wanted(scene):
            return "the service was scaled down"
        if target is None or target.swarm is None or not target.swarm.ready:
            return f"{item.to} was lost"
        if target.swarm.availability == "drain":
            return f"{item.to} is being drained"
    elif scene.workload.claim.node == item.source and (scene.source is None or scene.source.lost):
        return f"{item.source} was lost"
    if target is None or target.lost or not target.ready:
        return f"{item.to} was lost"
    if now >= _limit(item, now):
        minutes = MOVE_LIMIT.total_seconds() / 60
        what = (
            f"has not ended on {item.source}"
            if item.phase is MigrationPhase.MOVING
            else f"has not come up on {item.to}"
        )
        task = next(_wants(scene, scene.workload.slot or 0), None)
        said = f": the Swarm says {task.state}, {task.message}" if task is not None else ""
        return f"it {what} within {minutes:g} minutes{said}"
    return ""


def _limit(item: Migration, now: datetime) -> datetime:
    return (item.phase_since or now) + MOVE_LIMIT


def _refusal(view: MigrationView) -> str:
    """Why it is not done; nothing was stopped so far."""
    item = view.migration
    older = [one for one in view.rivals if _rank(one) < _rank(item) or one.is_binding]
    if older:
        return f"migration {older[0].ref.name} of it is under way"
    return view.hindrance or "; ".join(obstacles(view.scene, item.to))


def _left(view: MigrationView) -> str:
    item, workload = view.migration, view.scene.workload
    if workload is not None and workload.claim.epoch == item.epoch:
        return ""
    return f"it has left {item.source} by itself meanwhile"


def _refuse(view: MigrationView, now: datetime, problem: str) -> Plan:
    workload = view.scene.workload
    where = workload.claim.node if workload is not None else ""
    runs = f", it runs on {where} as before" if where else ""
    return _to(view, MigrationPhase.FAILED, now, f"nothing was stopped{runs}: {problem}", {"runsOn": where or None})


def _fail(view: MigrationView, now: datetime, problem: str) -> Plan:
    item = view.migration
    tell = Tell(True, "MigrationFails", f"{problem}; the Swarm is free to run it anywhere", workload=_ref(view))
    return Plan(f"{item.ref}: {problem}", (tell,), StatusPatch({"failure": problem, "message": problem}), now)


def _to(
    view: MigrationView,
    phase: MigrationPhase,
    now: datetime,
    message: str,
    fields: dict[str, Any] | None = None,
    tell: Tell | None = None,
) -> Plan:
    item = view.migration
    entered = [*item.phases, (phase, now)]
    wire = [{"phase": str(one), "at": format_time(at)} for one, at in entered]
    actions: list[Action] = [tell] if tell is not None else []
    if phase is MigrationPhase.DONE and not item.dry_run:
        actions.append(Tell(False, "Migrated", message, workload=_ref(view)))
    elif phase is MigrationPhase.FAILED:
        actions.append(Tell(True, "MigrationFailed", message, workload=_ref(view)))
    status = {"phase": str(phase), "message": message, "phases": wire, **(fields or {})}
    # Guarded: the user may delete it right now, or another leader may be a step ahead.
    return Plan(f"{item.ref} is {phase}: {message}", tuple(actions), StatusPatch(status, guarded=True), now)


def _says(message: str) -> StatusPatch:
    return StatusPatch({"message": message})


def _rounds(item: Migration, changed: Round) -> StatusPatch:
    kept = [one for one in item.rounds if one.number != changed.number]
    return StatusPatch({"rounds": [one.wire() for one in [*kept, changed]]}, guarded=True)


def _figures(view: MigrationView, final: Checkpoint | None) -> dict[str, Any]:
    """Times by the nodes' clocks, made comparable as far as their offsets are known; bytes of all that was written."""
    item, workload = view.migration, view.scene.workload
    start = workload.last_start if workload else None
    fields: dict[str, Any] = {"version": start.version if start else None}
    wrote = sum(one.bytes or 0 for one in item.rounds)
    if final is not None and final.reason is Reason.FINAL:
        fields["bytes"] = wrote + final.stored_bytes
        if final.taken_at is not None and start is not None and start.at is not None and workload is not None:
            stopped_at = final.taken_at - timedelta(seconds=view.clock_offsets.get(item.source, 0.0))
            running_at = start.at - timedelta(seconds=view.clock_offsets.get(workload.claim.node, 0.0))
            fields["stoppedAt"], fields["runningAt"] = format_time(stopped_at), format_time(running_at)
            fields["downtimeSeconds"] = round(max(0.0, (running_at - stopped_at).total_seconds()), 3)
    return fields


def _is_final(view: MigrationView, version: Checkpoint | None) -> bool:
    """Whether it went on from the version that was taken as it stopped."""
    workload = view.scene.workload
    if version is not None:
        return version.reason is Reason.FINAL
    if workload is None or workload.last_start is None or workload.last_end is None:
        return False
    return workload.last_end.final_version == workload.last_start.version


def _version(view: MigrationView, number: int | None) -> Checkpoint | None:
    return next((one for one in view.checkpoints if number is not None and one.version == number), None)


def _pull_note(view: MigrationView) -> str:
    traits, target = view.scene.traits, view.scene.target
    if traits is None or target is None or traits.image_id in target.facts.images.values():
        return ""
    return f"; its image is not on {target.name}, PreCopy would bring it there before anything stops"


def _rank(item: Migration) -> tuple[str, str]:
    return (item.created_at.isoformat() if item.created_at else "", item.ref.name)


def _ref(view: MigrationView) -> Ref:
    return Ref(view.migration.ref.namespace, view.migration.workload)

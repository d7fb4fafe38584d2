"""What becomes of a migration's status at each step. Pure; used by plan/migration.py and its neighbours."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from swarmkeep.model.migration import Migration, MigrationPhase, Round
from swarmkeep.model.wire import format_time
from swarmkeep.plan.actions import Action, Plan, StatusPatch, Tell
from swarmkeep.plan.migration_view import MigrationView, workload_of

LOOK_AGAIN = timedelta(seconds=2)


def to_phase(
    view: MigrationView,
    phase: MigrationPhase,
    now: datetime,
    message: str,
    fields: dict[str, Any] | None = None,
    tell: Tell | None = None,
) -> Plan:
    """Enters a phase, with its time, and tells the end of the move as an event of the workload."""
    item = view.migration
    entered = [*item.phases, (phase, now)]
    wire = [{"phase": str(one), "at": format_time(at)} for one, at in entered]
    actions: list[Action] = [tell] if tell is not None else []
    if phase is MigrationPhase.DONE and not item.dry_run:
        actions.append(Tell(False, "Migrated", message, workload=workload_of(view)))
    elif phase is MigrationPhase.FAILED:
        actions.append(Tell(True, "MigrationFailed", message, workload=workload_of(view)))
    status = {"phase": str(phase), "message": message, "phases": wire, **(fields or {})}
    # Guarded: the user may delete it right now, or another leader may be a step ahead.
    return Plan(f"{item.ref} is {phase}: {message}", tuple(actions), StatusPatch(status, guarded=True), now)


def refuse(view: MigrationView, now: datetime, problem: str) -> Plan:
    """The end before anything was stopped."""
    workload = view.scene.workload
    where = workload.claim.node if workload is not None else ""
    runs = f", it runs on {where} as before" if where else ""
    return to_phase(
        view, MigrationPhase.FAILED, now, f"nothing was stopped{runs}: {problem}", {"runsOn": where or None}
    )


def fail(view: MigrationView, now: datetime, problem: str) -> Plan:
    """Notes why the move is given up. What was said is taken back next, and then it is seen where it runs."""
    item = view.migration
    tell = Tell(True, "MigrationFails", f"{problem}: the move is given up", workload=workload_of(view))
    return Plan(f"{item.ref}: {problem}", (tell,), StatusPatch({"failure": problem, "message": problem}), now)


def says(message: str) -> StatusPatch:
    """Only a message."""
    return StatusPatch({"message": message})


def rounds_patch(item: Migration, changed: Round) -> StatusPatch:
    """`status.rounds` with this one as it is now."""
    kept = [one for one in item.rounds if one.number != changed.number]
    return StatusPatch({"rounds": [one.wire() for one in [*kept, changed]]}, guarded=True)

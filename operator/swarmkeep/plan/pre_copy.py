"""Brings versions of a workload to a migration's target while it runs on: rounds, until one is small. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from swarmkeep.model.checkpoint import CheckpointPhase
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import LABEL_MIGRATION
from swarmkeep.model.migration import Round
from swarmkeep.plan.actions import Plan, WishCheckpoint
from swarmkeep.plan.migration_steps import LOOK_AGAIN, refuse, rounds_patch
from swarmkeep.plan.migration_view import MigrationView, departure, refusal, workload_of

SMALL_BYTES = 4 << 20
"""A round that wrote no more than this is the last: the final version will not be much larger."""
SHRINK = 0.7
"""A round that wrote more than this share of the one before is the last: it does not get smaller any more."""
MAX_ROUNDS = 6
ROUNDS_LIMIT = timedelta(minutes=10)
"""No further round begins after this long."""
ROUND_LIMIT = timedelta(minutes=15)
"""The longest that one version may take to be stored and brought to the target; the first may be large."""


def pre_copy(view: MigrationView, now: datetime) -> Plan | None:
    """The next step of the rounds; None when the last is over, and it is time to stop the workload."""
    item = view.migration
    problem = refusal(view) or departure(view)
    if problem:
        return refuse(view, now, problem)
    if not item.rounds:
        return _next_round(view, now)
    last = item.rounds[-1]
    if last.ready_at is not None:
        if another_round(item.rounds, now):
            return _next_round(view, now)
        return None
    if now - last.started_at >= ROUND_LIMIT:
        minutes = ROUND_LIMIT.total_seconds() / 60
        where = "stored" if last.version is None else f"on {item.to}"
        because = view.scene.target.standby_message if view.scene.target else ""
        text = f"round {last.number}: its version was not {where} within {minutes:g} minutes"
        return refuse(view, now, f"{text}: {because}" if because else text)
    wish = next((one for one in view.checkpoints if one.ref.name == last.checkpoint), None)
    if last.version is None:
        if wish is None or wish.phase is CheckpointPhase.FAILED:
            why = "its version was deleted" if wish is None else "no version could be taken; see the Checkpoint"
            return refuse(view, now, f"round {last.number}: {why} {last.checkpoint}")
        if not wish.finished or wish.version is None:
            return Plan("", wake_at=last.started_at + ROUND_LIMIT)
        stored = replace(last, version=wish.version, bytes=wish.stored_bytes)
        return Plan("", status=rounds_patch(item, stored), wake_at=now + LOOK_AGAIN)
    ready = view.scene.target.standby_version if view.scene.target else None
    if ready is None or ready < last.version:
        return Plan("", wake_at=last.started_at + ROUND_LIMIT)
    done = replace(last, ready_at=now)
    text = f"{item.ref}: {item.to} has version {last.version} of {workload_of(view)}, round {last.number}"
    return Plan(text, status=rounds_patch(item, done), wake_at=now)


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
    return Plan(text, (wish,), rounds_patch(item, Round(number, name, now)), now + LOOK_AGAIN)

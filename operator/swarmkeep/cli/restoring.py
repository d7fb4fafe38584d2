"""What `rollback` and `forget` share: a Restore object, what it means, and how it goes on until it has ended."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swarmkeep.cli.session import Session
from swarmkeep.errors import SwarmKeepError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from swarmkeep.model.checkpoint import Checkpoint
    from swarmkeep.model.workload import Workload
    from swarmkeep.plan.rollback import Goal

UNKNOWN_EXIT = 3
"""It had not ended when the time to wait was over."""
_ENDED = ("Done", "Failed")

Object = dict[str, Any]


class Unfit(SwarmKeepError):
    """The workload cannot be brought there."""

    reason = "Unfit"
    exit_code = 1


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be done with a workload."""

    workload: Workload
    chosen: Checkpoint | None
    """None for a start from nothing."""
    now: bool
    keep: bool

    def sentences(self, now: datetime) -> Iterator[str]:
        """What will happen, for people; times are local."""
        name, node = self.workload.ref.name, self.workload.claim.node
        if self.chosen is None:
            goal = "a fresh start; its versions stay and can be gone back to"
        else:
            goal = f"version {self.chosen.version}"
            if self.chosen.taken_at is not None:
                goal += f", taken {local(self.chosen.taken_at)}, {_ago(now, self.chosen.taken_at)}"
        yield f"{name}: {goal}"
        if not self.now:
            yield "nothing is stopped: it counts for the next start, whenever that comes"
        elif node:
            how = "with a last version, so that this can be taken back" if self.keep else "and what it has now is LOST"
            yield f"the task on {node} is ended {how}; Swarm makes the next one"
        else:
            yield "no task runs: it counts for the next one, which Swarm is about to make"

    def spec(self) -> Object:
        """The spec of the Restore. It names the version that was shown, whatever is newer by then."""
        goal: Object = {"fresh": True} if self.chosen is None else {"version": self.chosen.version}
        when = "Now" if self.now else "NextStart"
        return {"workload": self.workload.ref.name, **goal, "when": when, "keepCurrent": self.keep}


async def find(session: Session, name: str, goal: Goal) -> tuple[Workload, Checkpoint | None]:
    """The workload and the version that is meant. Raises NotFound, Unfit with why it cannot be."""
    from swarmkeep.model.checkpoint import parse_checkpoint
    from swarmkeep.model.kinds import CHECKPOINT, WORKLOAD
    from swarmkeep.model.workload import parse_workload
    from swarmkeep.plan.rollback import choose

    workload = parse_workload(await session.client.get(WORKLOAD, name, session.namespace))
    if workload.container_name is not None:
        raise Unfit(f"{name} stays as it is: a plain container cannot be brought back yet, only tasks of services can")
    listed = await session.client.list(CHECKPOINT, session.namespace, fields=f"spec.workload={name}")
    chosen = choose(goal, workload, [parse_checkpoint(obj) for obj in listed.items])
    if isinstance(chosen, str):
        raise Unfit(f"{name} stays as it is: {chosen}")
    return workload, chosen


async def carry_out(session: Session, wish: Wish, *, wait: bool, dry_run: bool, limit_s: float) -> int:
    """Says what will happen, makes the Restore, and says how it went; returns the exit code."""
    from datetime import UTC, datetime

    from swarmkeep.model.kinds import RESTORE

    for line in wish.sentences(datetime.now(UTC)):
        print(line, flush=True)
    if dry_run:
        print("nothing was done (dry run)")
        return 0
    body = {
        "apiVersion": RESTORE.api_version,
        "kind": RESTORE.name,
        "metadata": {"generateName": f"{wish.workload.ref.name}-"},
        "spec": wish.spec(),
    }
    made = await session.client.create(RESTORE, body, session.namespace)
    name = made["metadata"]["name"]
    print(f"restore.{RESTORE.group}/{name} created", flush=True)
    if not wait:
        return 0
    # What waits for the next start is on its way once the workload has its order.
    ended = ("Pending", *_ENDED) if not wish.now else _ENDED
    return verdict(await _follow(session, name, ended, limit_s), name)


async def _follow(session: Session, name: str, ended: tuple[str, ...], limit_s: float) -> Object | None:
    """The object when it has ended, or as it was last; None when somebody deleted it. Says each step on the way."""
    import asyncio

    from swarmkeep.cli.printing import cell_text
    from swarmkeep.kube.mirror import Mirror
    from swarmkeep.model.kinds import RESTORE

    changed = asyncio.Event()
    mirror = Mirror(
        session.client, RESTORE, session.namespace, fields=f"metadata.name={name}", on_change=lambda *_: changed.set()
    )
    running = asyncio.create_task(mirror.run())
    told = ""
    obj: Object | None = None
    try:
        async with asyncio.timeout(limit_s or None):
            await mirror.wait_synced()
            while (obj := mirror.get(name, session.namespace)) is not None:
                status = obj.get("status") or {}
                # Without a start it has no order yet: it waits for the Swarm.
                waits = status.get("phase") == "Pending" and "startedAt" not in status
                if status.get("phase") in ended and not waits:
                    break
                line = cell_text(f"{status.get('phase') or 'Pending'}: {status.get('message') or 'for the operator'}")
                if line != told:
                    print(line, flush=True)
                    told = line
                changed.clear()
                await changed.wait()
    except TimeoutError:
        pass
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return obj


def verdict(restore: Object | None, name: str) -> int:
    """Prints how it ended; returns the exit code."""
    from swarmkeep.cli.printing import cell_text

    if restore is None:
        print(f"error: restore {name} was deleted before it had ended", file=sys.stderr)
        return 1
    status = restore.get("status") or {}
    message = cell_text(status.get("message") or "the operator has not looked at it: is one running?")
    waits = (restore.get("spec") or {}).get("when") == "NextStart" and status.get("phase") == "Pending"
    if status.get("phase") == "Done" or waits:
        print(message)
        return 0
    if status.get("phase") == "Failed":
        print(f"error: {message}", file=sys.stderr)
        return 1
    print(f"error: timed out, it goes on: {status.get('phase') or 'not begun'}, {message}", file=sys.stderr)
    return UNKNOWN_EXIT


def local(moment: datetime) -> str:
    """In the time zone of this computer, which is said."""
    here = moment.astimezone()
    return f"{here:%Y-%m-%d %H:%M:%S} {here.tzname()}"


def _ago(now: datetime, moment: datetime) -> str:
    from datetime import timedelta

    from swarmkeep.model.quantity import format_duration

    return f"{format_duration(timedelta(seconds=max(0, round((now - moment).total_seconds()))))} ago"

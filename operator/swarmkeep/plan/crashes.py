"""What a crash says: of the versions that the process came from or left behind, and of when the next is restored.

Used by the agent when a task has ended, and by the operator for the condition `CrashLoop`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from swarmkeep.model.conditions import Condition, Status
from swarmkeep.model.crashes import Crashes
from swarmkeep.model.workload import End, Workload
from swarmkeep.plan.backoff import backoff

EARLY_DEATH = timedelta(seconds=30)
"""A restored process that crashes within this time is taken for a bad version, not for a bad program."""
RAN_WELL = timedelta(minutes=5)
"""A process that runs for so long ends a row of crashes."""
LOOP = 3
"""So many restored processes that crash in a row are a loop."""
FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=5)
"""Between a crash and the next restore, from the first crash that makes a loop on: doubles each time."""

_CRASHED = (End.CRASHED, End.OUT_OF_MEMORY)


@dataclass(frozen=True, slots=True)
class Life:
    """A task from its start to its end."""

    restored: int | None
    """The version that it came from; None for one that started fresh, or that nobody saw start."""
    fresh: bool
    """It started from nothing."""
    how: End
    ended_at: datetime
    lived: timedelta
    own_versions: range
    """Numbers of the versions that were taken of it."""
    lost_pages: bool = False
    """Some of its memory was missing for good."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known after a life."""

    failed_restores: Mapping[int, int]
    """How often each version failed to come up, or to live."""
    crashes: Crashes | None


def judge_life(life: Life, failed: Mapping[int, int], crashes: Crashes | None, attempts: int) -> Verdict:
    """What to hold against which version after `life`, given what was known before it.

    A version counts together with those that it led to: a process that is restored from a poisoned state hands the
    poison on to every version that is taken until it crashes. So all of them are tried `attempts` times in all, and
    then the next older one is.
    """
    blamed = _blamed(life, failed, crashes, attempts)
    return Verdict({**failed, **blamed}, _row(life, crashes))


def pause_after(in_row: int) -> timedelta:
    """How long nothing is restored after so many crashes in a row."""
    return backoff(in_row - LOOP + 1, FIRST_PAUSE, LONGEST_PAUSE)


def pause_left(crashes: Crashes | None, now: datetime) -> timedelta:
    """How much of the pause is left; never more than a whole one, whatever the clock of the node that set it says."""
    if crashes is None:
        return timedelta()
    return max(timedelta(), min(crashes.restore_after - now, pause_after(crashes.in_row)))


def has_outlived(up_for: timedelta) -> bool:
    """Whether a process that has been up for so long is well: a version of it makes all older ones history."""
    return up_for >= EARLY_DEATH


def ran_well(up_for: timedelta) -> bool:
    """Whether a process that has been up for so long ends a row of crashes."""
    return up_for >= RAN_WELL


def crash_loop(workload: Workload) -> Condition:
    """The workload's condition `CrashLoop`."""
    crashes = workload.crashes
    if crashes is None or crashes.in_row < LOOP:
        return Condition("CrashLoop", Status.FALSE, "NoLoop", "it does not crash again and again after restores")
    count = f"{crashes.in_row} restored processes crashed in a row"
    tried = ", ".join(str(number) for number in sorted(workload.failed_restores)[-5:])
    pause = f"; the next restore waits {pause_after(crashes.in_row).total_seconds():g} s after a crash"
    if crashes.fresh_too:
        text = (
            f"{count}, and one that started from nothing crashed as well: the versions are not the reason; "
            "look at its logs and at what it depends on"
        )
        return Condition("CrashLoop", Status.TRUE, "FreshCrashesToo", text)
    if crashes.memory_alone:
        text = (
            f"{count} since they were given no more memory{pause}: a version needs as much memory as its process had; "
            "raise the limit (docker service update --limit-memory), which keeps its versions fitting"
        )
        return Condition("CrashLoop", Status.TRUE, "OutOfMemory", text)
    text = f"{count}{f' (versions that failed so far: {tried})' if tried else ''}{pause}: look at its logs"
    advice = "to have it start from nothing, run docker service update --force"
    return Condition("CrashLoop", Status.TRUE, "RestoredCrashes", f"{text}; {advice}")


def _blamed(life: Life, failed: Mapping[int, int], crashes: Crashes | None, attempts: int) -> dict[int, int]:
    early = life.how in _CRASHED and life.lived < EARLY_DEATH
    if life.restored is None:
        # Amid a loop of restores a fresh copy that dies as soon leaves nothing that is worth another round.
        hopeless = early and life.fresh and crashes is not None and crashes.in_row >= LOOP
        return dict.fromkeys(life.own_versions, attempts) if hopeless else {}
    if life.lost_pages and not life.own_versions:
        return {life.restored: failed.get(life.restored, 0) + 1}
    if not early:
        return {}
    before = failed.get(life.restored, 0)
    kin = [number for number, count in failed.items() if before and count == before]
    return dict.fromkeys([life.restored, *kin, *life.own_versions], before + 1)


def _row(life: Life, crashes: Crashes | None) -> Crashes | None:
    if life.how not in _CRASHED or life.lived >= RAN_WELL:
        return None
    if life.restored is None:
        return replace(crashes, fresh_too=True, last_at=life.ended_at) if crashes and life.fresh else crashes
    in_row = (crashes.in_row if crashes else 0) + 1
    memory = (crashes.out_of_memory if crashes else 0) + (life.how is End.OUT_OF_MEMORY)
    since = crashes.since if crashes else life.ended_at
    return Crashes(in_row, memory, since, life.ended_at, life.ended_at + pause_after(in_row))

"""What crashes say of versions, and how a loop of them is slowed down and told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.crashes import Crashes, crashes_wire, parse_crashes
from swarmkeep.model.policy import RestoreRules
from swarmkeep.model.workload import End
from swarmkeep.plan.crashes import (
    EARLY_DEATH,
    LONGEST_PAUSE,
    LOOP,
    RAN_WELL,
    Life,
    crash_loop,
    has_outlived,
    judge_life,
    pause_after,
    pause_left,
)
from swarmkeep.plan.start import Candidate, Fresh, Hold, Restore, decide_start

from ..objects import NOW, ago, workload

EARLY, LATE = timedelta(seconds=2), EARLY_DEATH
NONE = range(0)


def life(restored: int | None = 7, how: End = End.CRASHED, lived: timedelta = EARLY, **fields: Any) -> Life:
    defaults: dict[str, Any] = {"fresh": restored is None, "ended_at": NOW, "own_versions": NONE}
    return Life(restored, how=how, lived=lived, **{**defaults, **fields})


def row(in_row: int, *, memory: int = 0, fresh_too: bool = False) -> Crashes:
    return Crashes(in_row, memory, ago(100), ago(1), NOW + pause_after(in_row), fresh_too)


@pytest.mark.parametrize(
    ("ended", "blamed"),
    [
        (life(), {7: 1}),
        (life(how=End.OUT_OF_MEMORY), {7: 1}),
        (life(lived=LATE), {}),
        (life(how=End.EXITED), {}),
        (life(how=End.STOPPED), {}),
        (life(how=End.NODE_LOSS), {}),
        (life(lived=LATE, lost_pages=True), {7: 1}),
        (life(lived=LATE, lost_pages=True, own_versions=range(8, 9)), {}),
        (life(None, lost_pages=True), {}),
        # What was taken of a process on its way to the crash has what crashed it.
        (life(own_versions=range(8, 10)), {7: 1, 8: 1, 9: 1}),
        (life(lived=LATE, own_versions=range(8, 10)), {}),
    ],
)
def test_a_version_whose_process_dies_at_once_counts_as_failed(ended: Life, blamed: dict[int, int]) -> None:
    assert judge_life(ended, {}, None, 3).failed_restores == blamed


def test_versions_of_one_poisoned_state_count_together() -> None:
    failed = judge_life(life(5, own_versions=range(6, 8)), {}, None, 3).failed_restores
    assert failed == {5: 1, 6: 1, 7: 1}
    failed = judge_life(life(7, own_versions=range(8, 9)), failed, None, 3).failed_restores
    assert failed == {5: 2, 6: 2, 7: 2, 8: 2}
    failed = judge_life(life(4, own_versions=range(9, 10)), failed, None, 3).failed_restores
    assert failed == {4: 1, 5: 2, 6: 2, 7: 2, 8: 2, 9: 1}


@pytest.mark.parametrize(
    ("before", "ended", "in_row", "memory"),
    [
        (None, life(), 1, 0),
        (row(1), life(), 2, 0),
        (row(2, memory=2), life(how=End.OUT_OF_MEMORY), 3, 3),
        (row(2), life(lived=LATE), 3, 0),
        (row(9), life(lived=RAN_WELL), None, None),
        (row(9), life(how=End.STOPPED), None, None),
        (row(9), life(how=End.EXITED), None, None),
        (None, life(None), None, None),
        (row(2), life(None), 2, 0),
        # Nobody knows how it came up: that says nothing.
        (row(2), life(None, fresh=False), 2, 0),
    ],
)
def test_crashes_of_restored_processes_count_until_one_runs_well_or_is_stopped(
    before: Crashes | None, ended: Life, in_row: int | None, memory: int | None
) -> None:
    found = judge_life(ended, {}, before, 3).crashes
    assert (found.in_row if found else None, found.out_of_memory if found else None) == (in_row, memory)
    if found is not None and ended.restored is not None:
        assert found.restore_after == NOW + pause_after(found.in_row)


def test_a_fresh_copy_that_crashes_as_well_says_that_versions_are_not_the_reason_and_leaves_none_to_try() -> None:
    verdict = judge_life(life(None, own_versions=range(8, 10)), {7: 3}, row(LOOP), 3)
    assert verdict.crashes is not None
    assert verdict.crashes.fresh_too
    assert verdict.failed_restores == {7: 3, 8: 3, 9: 3}
    assert judge_life(life(None, own_versions=range(8, 10)), {}, row(LOOP - 1), 3).failed_restores == {}
    assert not (judge_life(life(), {}, verdict.crashes, 3).crashes or row(1, fresh_too=True)).fresh_too


def test_pauses_begin_with_a_loop_and_grow_to_five_minutes() -> None:
    assert [pause_after(count).total_seconds() for count in range(1, 7)] == [0, 0, 1, 2, 4, 8]
    assert pause_after(1000) == LONGEST_PAUSE
    assert pause_left(None, NOW) == timedelta()
    assert pause_left(row(LOOP), NOW) == timedelta(seconds=1)
    assert pause_left(row(LOOP), NOW + timedelta(seconds=2)) == timedelta()
    # The clock of the node that saw the crash was an hour ahead.
    assert pause_left(replace(row(LOOP), restore_after=NOW + timedelta(hours=1)), NOW) == timedelta(seconds=1)


@pytest.mark.parametrize(
    ("crashes", "status", "reason", "words"),
    [
        (row(LOOP - 1), "False", "NoLoop", ""),
        (
            row(LOOP),
            "True",
            "RestoredCrashes",
            "3 restored processes crashed in a row (versions that failed so far: 7)",
        ),
        (row(4, memory=4), "True", "OutOfMemory", "raise the limit"),
        (row(4, memory=3), "True", "RestoredCrashes", "the next restore waits 2 s"),
        (row(4, memory=4, fresh_too=True), "True", "FreshCrashesToo", "the versions are not the reason"),
    ],
)
def test_a_loop_is_told_with_what_to_do(crashes: Crashes, status: str, reason: str, words: str) -> None:
    found = crash_loop(workload(crashes=crashes_wire(crashes), failedRestores={"7": 3}))
    assert (found.status, found.reason) == (status, reason)
    assert words in found.message


def test_what_is_told_is_read_as_it_was() -> None:
    assert parse_crashes(crashes_wire(row(4, memory=2, fresh_too=True))) == row(4, memory=2, fresh_too=True)
    assert parse_crashes({}) is None


@given(
    kept=st.integers(1, 6),
    taken=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    attempts=st.integers(1, 4),
    good=st.integers(0, 6),
)
def test_whatever_is_poisoned_the_newest_good_version_is_reached_and_else_the_end(
    kept: int, taken: Sequence[int], attempts: int, good: int
) -> None:
    """`good` of the oldest versions do not crash; all else does, and hands that on to what is taken of it."""
    poisoned = {number: number > good for number in range(1, kept + 1)}
    failed: dict[int, int] = {}
    crashes: Crashes | None = None
    restores = 0
    while True:
        candidates = [Candidate(number, NOW, "a", "service") for number in poisoned]
        decision = decide_start(RestoreRules(attempts=attempts), End.CRASHED, "a", "service", candidates, failed, NOW)
        if not isinstance(decision, Restore) or not poisoned[decision.version]:
            break
        newest = max(poisoned)
        own = range(newest + 1, newest + 1 + taken[restores % len(taken)])
        poisoned |= dict.fromkeys(own, True)
        verdict = judge_life(life(decision.version, own_versions=own), failed, crashes, attempts)
        failed, crashes = dict(verdict.failed_restores), verdict.crashes
        restores += 1
        assert restores <= attempts * kept, "it never comes to an end"
    expected = min(good, kept)
    if expected:
        assert decision == Restore(expected, decision.reason, decision.message)
    else:
        assert isinstance(decision, Fresh | Hold)
    assert restores == attempts * (kept - expected)
    assert (crashes.in_row if crashes else 0) == restores


def test_only_a_process_that_outlived_an_early_death_makes_older_versions_history() -> None:
    assert not has_outlived(EARLY)
    assert has_outlived(LATE)

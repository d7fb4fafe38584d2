"""Restore or fresh: the order of the questions, one by one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.line import Branch, Line
from swarmkeep.model.policy import Otherwise, RestoreOn, RestoreRules
from swarmkeep.model.workload import End, Order
from swarmkeep.plan.start import Candidate, Fresh, Hold, Restore, decide_start

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def version(number: int, spec_hash: str = "a", *, age_s: float = 10, usable: bool = True) -> Candidate:
    return Candidate(number, NOW - timedelta(seconds=age_s), spec_hash, "service", usable)


@pytest.mark.parametrize(
    ("end", "candidates", "expected"),
    [
        (End.NODE_LOSS, [], "NoVersion"),
        (End.NODE_LOSS, [version(1, "b")], "SpecChanged"),
        (End.NODE_LOSS, [version(1, "a"), version(2, "b")], "SpecChanged"),
        (End.EXITED, [version(1)], "Completed"),
        (End.NODE_LOSS, [version(1, usable=False)], "NoRestorableVersion"),
    ],
)
def test_fresh_always_has_a_reason(end: End, candidates: list[Candidate], expected: str) -> None:
    decision = decide_start(RestoreRules(), end, "a", "service", candidates, {}, NOW)
    assert isinstance(decision, Fresh)
    assert decision.reason == expected
    assert decision.message


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (End.NODE_LOSS, "NodeLoss"),
        (End.CRASHED, "Crash"),
        (End.OUT_OF_MEMORY, "Crash"),
        (End.STOPPED, "Reschedule"),
        (None, "Crash"),
    ],
)
def test_the_newest_version_is_restored_after_an_end_that_the_policy_names(end: End | None, reason: str) -> None:
    decision = decide_start(RestoreRules(), end, "a", "service", [version(2), version(1)], {}, NOW)
    assert decision == Restore(2, reason, "from version 2, taken 10.0 s before")


def test_a_version_whose_test_restore_failed_is_taken_only_when_nothing_else_is_left() -> None:
    doubted = replace(version(3), doubted=True)
    tried: dict[int, int] = {}
    came_up = []
    for _ in range(3):
        decision = decide_start(
            RestoreRules(attempts=1), End.CRASHED, "a", "service", [doubted, version(2), version(1)], tried, NOW
        )
        assert isinstance(decision, Restore)
        came_up.append(decision.version)
        tried[decision.version] = 1
    assert came_up == [2, 1, 3]


def test_a_new_service_of_the_same_name_starts_fresh() -> None:
    decision = decide_start(RestoreRules(), End.STOPPED, "a", "another service", [version(1)], {}, NOW)
    assert isinstance(decision, Fresh)
    assert decision.reason == "NewService"


def test_no_version_of_an_earlier_service_steps_in_for_one_that_cannot_be_used() -> None:
    earlier = Candidate(1, NOW, "a", "earlier")
    decision = decide_start(RestoreRules(), End.CRASHED, "a", "service", [version(2, usable=False), earlier], {}, NOW)
    assert isinstance(decision, Fresh)
    assert decision.reason == "NoRestorableVersion"


def test_a_damaged_newest_version_gives_way_to_the_one_before_and_is_no_change_of_anything() -> None:
    damaged = Candidate(2, NOW, "", "", usable=False)
    decision = decide_start(RestoreRules(), End.NODE_LOSS, "a", "service", [version(1), damaged], {}, NOW)
    assert isinstance(decision, Restore)
    assert decision.version == 1
    alone = decide_start(RestoreRules(), End.NODE_LOSS, "a", "service", [damaged], {}, NOW)
    assert isinstance(alone, Fresh)
    assert alone.reason == "NoRestorableVersion"


def test_an_end_that_the_policy_does_not_name_starts_fresh() -> None:
    rules = RestoreRules(after=frozenset({RestoreOn.NODE_LOSS}))
    decision = decide_start(rules, End.CRASHED, "a", "service", [version(1)], {}, NOW)
    assert isinstance(decision, Fresh)
    assert decision.reason == "NotInPolicy"


def test_a_version_that_failed_too_often_gives_way_to_the_one_before() -> None:
    decision = decide_start(
        RestoreRules(attempts=2), End.NODE_LOSS, "a", "service", [version(1), version(2)], {2: 2}, NOW
    )
    assert isinstance(decision, Restore)
    assert decision.version == 1


def test_versions_older_than_the_policy_allows_do_not_count() -> None:
    rules = RestoreRules(max_age=timedelta(seconds=5), otherwise=Otherwise.HOLD)
    decision = decide_start(rules, End.NODE_LOSS, "a", "service", [version(1, age_s=6)], {}, NOW)
    assert isinstance(decision, Hold)
    assert decision.reason == "NoRestorableVersion"


@given(
    st.lists(
        st.builds(
            Candidate,
            st.integers(1, 30),
            st.integers(0, 500).map(lambda age: NOW - timedelta(seconds=age)),
            st.sampled_from("ab"),
            st.just("service"),
            st.booleans(),
        ),
        max_size=8,
        unique_by=lambda candidate: candidate.number,
    ),
    st.sampled_from([None, *End]),
    st.dictionaries(st.integers(1, 30), st.integers(0, 4)),
    st.sampled_from([None, timedelta(seconds=100)]),
)
def test_what_is_restored_always_fits_and_nothing_newer_would(
    candidates: list[Candidate], end: End | None, failed: dict[int, int], max_age: timedelta | None
) -> None:
    rules = RestoreRules(max_age=max_age)
    decision = decide_start(rules, end, "a", "service", candidates, failed, NOW)
    if not isinstance(decision, Restore):
        return
    chosen = next(candidate for candidate in candidates if candidate.number == decision.version)
    assert chosen.usable
    assert chosen.spec_hash == "a"
    assert failed.get(chosen.number, 0) < rules.attempts
    assert max_age is None or NOW - chosen.taken_at <= max_age
    for newer in candidates:
        if newer.number > chosen.number:
            assert (
                not newer.usable
                or newer.spec_hash != "a"
                or failed.get(newer.number, 0) >= rules.attempts
                or (max_age is not None and NOW - newer.taken_at > max_age)
            )


@given(st.integers(1, 5), st.integers(1, 5))
def test_failing_every_time_ends_after_attempts_times_versions(attempts: int, count: int) -> None:
    rules = RestoreRules(attempts=attempts)
    candidates = [version(number) for number in range(1, count + 1)]
    failed: dict[int, int] = {}
    for _ in range(attempts * count):
        decision = decide_start(rules, End.NODE_LOSS, "a", "service", candidates, failed, NOW)
        assert isinstance(decision, Restore)
        failed[decision.version] = failed.get(decision.version, 0) + 1
    assert isinstance(decide_start(rules, End.NODE_LOSS, "a", "service", candidates, failed, NOW), Fresh)


def order(version_number: int | None) -> Order:
    return Order("uid", "back", version_number, ends_task=True, keep=True)


@pytest.mark.parametrize("end", [*End, None])
def test_an_order_counts_for_more_than_how_the_task_ended_and_how_old_the_version_is(end: End | None) -> None:
    rules = RestoreRules(after=frozenset(), max_age=timedelta(seconds=1))
    candidates = [version(3), version(2), version(1)]
    decision = decide_start(rules, end, "a", "service", candidates, {}, NOW, Line(), order(1))
    assert decision == Restore(1, "Rollback", "from version 1, taken 10.0 s before, as Restore back wants it", True)
    decision = decide_start(rules, end, "a", "service", candidates, {}, NOW, Line(), order(None))
    assert decision == Fresh("Forgotten", "as Restore back wants it", True)


@pytest.mark.parametrize(
    ("candidates", "failed", "why"),
    [
        ([version(3)], {}, "not in storage any more"),
        ([version(3), version(1, usable=False)], {}, "damaged or being deleted"),
        ([version(3), version(1, "b")], {}, "another specification"),
        ([version(3), version(1)], {1: 3}, "failed 3 times"),
    ],
)
def test_an_order_that_cannot_be_obeyed_leaves_the_workload_where_it_was(
    candidates: list[Candidate], failed: dict[int, int], why: str
) -> None:
    """Nobody but the order has ended it: it goes on however little the policy would restore."""
    rules = RestoreRules(after=frozenset())
    decision = decide_start(rules, End.STOPPED, "a", "service", candidates, failed, NOW, Line(), order(1))
    assert isinstance(decision, Restore)
    assert (decision.version, decision.reason, decision.ordered) == (3, "RollbackFailed", False)
    assert why in decision.message


def test_what_was_left_behind_is_not_restored_by_itself() -> None:
    line = Line((Branch(1, 3),))
    candidates = [version(3), version(2), version(1)]
    decision = decide_start(RestoreRules(), End.NODE_LOSS, "a", "service", candidates, {}, NOW, line)
    assert decision == Restore(1, "NodeLoss", "from version 1, taken 10.0 s before")
    decision = decide_start(RestoreRules(), End.NODE_LOSS, "a", "service", [version(4), *candidates], {}, NOW, line)
    assert isinstance(decision, Restore)
    assert decision.version == 4
    # The version gone back to is damaged: the policy has the word, not what was left behind.
    hold = RestoreRules(otherwise=Otherwise.HOLD)
    decision = decide_start(hold, End.CRASHED, "a", "service", [version(3), version(2)], {}, NOW, line)
    assert isinstance(decision, Hold)


def test_after_a_fresh_start_on_purpose_nothing_from_before_comes_back() -> None:
    line = Line((Branch(0, 3),))
    decision = decide_start(RestoreRules(), End.CRASHED, "a", "service", [version(3), version(2)], {}, NOW, line)
    assert isinstance(decision, Fresh)
    assert decision.reason == "Forgotten"

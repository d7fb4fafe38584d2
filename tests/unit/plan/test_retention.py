"""Which versions stay, by which rule, and which go."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from swarmkeep.model.checkpoint import Checkpoint, CheckpointPhase, How, Result, Verified
from swarmkeep.model.policy import RetentionRules
from swarmkeep.plan.retention import FAILURES_KEPT, Fate, Retention, plan_retention

from ..objects import NOW, checkpoint


def numbers(checkpoints: Iterable[Checkpoint]) -> list[int | None]:
    return [item.version for item in checkpoints]


def last(count: int) -> RetentionRules:
    return RetentionRules(keep_last=count)


def at(number: int, *moment: int) -> Checkpoint:
    return checkpoint(number, taken_at=datetime(*moment, tzinfo=UTC))  # type: ignore[arg-type,misc]


def why(plan: Retention) -> dict[int | None, str]:
    return {verdict.checkpoint.version: f"{verdict.fate}: {verdict.why}" for verdict in plan.verdicts}


def test_the_newest_stay_and_the_oldest_goes_first() -> None:
    versions = [checkpoint(number) for number in (3, 10, 1, 2, 9)]
    plan = plan_retention(versions, last(2), NOW)
    assert numbers(plan.going) == [1, 2, 3]
    assert [verdict.checkpoint.version for verdict in plan.verdicts] == [10, 9, 3, 2, 1]


def test_a_failed_version_does_not_count_as_good() -> None:
    versions = [checkpoint(1), checkpoint(2), checkpoint(3, CheckpointPhase.FAILED, name="failed")]
    assert numbers(plan_retention(versions, last(1), NOW).going) == [1]


def test_pinned_and_needed_versions_stay_on_top() -> None:
    versions = [checkpoint(1, pinned=True), checkpoint(2), checkpoint(3), checkpoint(4)]
    plan = plan_retention(versions, last(1), NOW, {2: "missed by a cold start"})
    assert numbers(plan.going) == [3]
    assert why(plan) == {
        4: "keep: newest, keepLast",
        3: "remove: no rule keeps it",
        2: "keep: missed by a cold start",
        1: "keep: pinned",
    }


def test_what_is_on_its_way_is_not_touched() -> None:
    versions = [
        checkpoint(1, CheckpointPhase.DELETING),
        checkpoint(2, deleting=True),
        checkpoint(3, CheckpointPhase.STORING),
        checkpoint(4),
    ]
    plan = plan_retention(versions, last(1), NOW)
    assert plan.going == ()
    assert [verdict.fate for verdict in plan.verdicts] == [Fate.KEEP, Fate.TAKING, Fate.REMOVING, Fate.REMOVING]


TOO_OLD = RetentionRules(max_age=timedelta(seconds=1))
DAMAGED = Verified(1, NOW, How.FULL, Result.DAMAGED, NOW, "", "", None)


def test_a_damaged_version_counts_for_no_rule_and_goes_when_enough_good_ones_are_newer() -> None:
    versions = [checkpoint(1), checkpoint(2), checkpoint(3, verified=DAMAGED), checkpoint(4, verified=DAMAGED)]
    plan = plan_retention(versions, last(1), NOW)
    assert numbers(plan.going) == [1]
    assert why(plan)[4] == "keep: damaged, but few good ones are newer"
    assert plan_retention(versions, last(2), NOW).going == ()
    later = plan_retention([*versions, checkpoint(5)], last(1), NOW)
    assert numbers(later.going) == [1, 2, 3, 4]
    assert why(later)[4] == "remove: it is damaged, and enough good ones are newer"
    expired = plan_retention([checkpoint(3, verified=DAMAGED), checkpoint(4, verified=DAMAGED)], TOO_OLD, NOW)
    assert numbers(expired.going) == [3], "where none is good the newest stays at any age"
    pinned = checkpoint(3, verified=DAMAGED, pinned=True)
    assert numbers(plan_retention([pinned, checkpoint(5)], last(1), NOW).going) == []


def test_of_failures_the_newest_few_stay_at_any_age() -> None:
    failures = [checkpoint(None, CheckpointPhase.FAILED, name=f"f{age}", age_s=age) for age in range(10)]
    plan = plan_retention(failures, RetentionRules(max_age=timedelta(seconds=1)), NOW)
    assert len(plan.going) == 10 - FAILURES_KEPT
    assert not {"f0", "f1", "f2"} & {item.ref.name for item in plan.going}
    assert {verdict.why for verdict in plan.verdicts if verdict.fate is Fate.REMOVE} == {
        "only the last 3 failures stay"
    }


HISTORY = [
    at(1, 2025, 12, 21, 23, 59),  # a Sunday: the week before
    at(2, 2025, 12, 22, 0, 0),  # Monday
    at(3, 2025, 12, 30, 8, 0),
    at(4, 2025, 12, 31, 23, 59),
    at(5, 2026, 1, 1, 0, 0),  # the same week by ISO 8601: 2026-W01
    at(6, 2026, 1, 1, 9, 30),
    at(7, 2026, 1, 1, 9, 59),
    at(8, 2026, 1, 1, 11, 0),
]


@pytest.mark.parametrize(
    ("rules", "stay"),
    [
        (RetentionRules(keep_last=1), [8]),
        (RetentionRules(keep_last=1, keep_hourly=1), [8]),
        (RetentionRules(keep_last=1, keep_hourly=2), [8, 7]),
        (RetentionRules(keep_last=1, keep_hourly=4), [8, 7, 5, 4]),
        (RetentionRules(keep_last=1, keep_daily=2), [8, 4]),
        (RetentionRules(keep_last=1, keep_daily=9), [8, 4, 3, 2, 1]),
        (RetentionRules(keep_last=1, keep_weekly=2), [8, 2]),
        (RetentionRules(keep_last=1, keep_weekly=3), [8, 2, 1]),
        (RetentionRules(keep_last=3, keep_daily=2, keep_weekly=2), [8, 7, 6, 4, 2]),
        (RetentionRules(keep_last=1, keep_daily=9, max_age=timedelta(days=2)), [8, 4]),
        (RetentionRules(keep_last=8, max_age=timedelta(hours=3)), [8, 7, 6]),
        (RetentionRules(keep_last=1, max_age=timedelta(days=999)), [8]),
        (RetentionRules(keep_last=8, max_age=timedelta(days=999_999_999)), [8, 7, 6, 5, 4, 3, 2, 1]),
    ],
    ids=str,
)
def test_rules(rules: RetentionRules, stay: list[int]) -> None:
    plan = plan_retention(HISTORY, rules, NOW)
    assert [number for number, text in why(plan).items() if text.startswith("keep")] == stay


def test_each_version_says_which_rules_keep_it() -> None:
    rules = RetentionRules(keep_last=1, keep_hourly=2, keep_daily=2, keep_weekly=1, max_age=timedelta(days=5))
    assert why(plan_retention(HISTORY, rules, NOW)) == {
        8: "keep: newest, keepLast, keepHourly 2026-01-01T11, keepDaily 2026-01-01, keepWeekly 2026-W01",
        7: "keep: keepHourly 2026-01-01T09",
        6: "remove: no rule keeps it",
        5: "remove: no rule keeps it",
        4: "keep: keepDaily 2025-12-31",
        3: "remove: no rule keeps it",
        2: "remove: older than maxAge 5d",
        1: "remove: older than maxAge 5d",
    }


def test_hours_are_those_of_utc_whatever_zone_a_time_was_written_in() -> None:
    first = datetime.fromisoformat("2026-01-01T13:10:00+05:30")
    versions = [checkpoint(number, taken_at=first + timedelta(minutes=30 * number)) for number in (1, 2, 3)]
    rules = RetentionRules(keep_last=1, keep_hourly=2)
    assert why(plan_retention(versions, rules, NOW)) == {
        3: "keep: newest, keepLast, keepHourly 2026-01-01T09",
        2: "keep: keepHourly 2026-01-01T08",
        1: "remove: no rule keeps it",
    }


def test_where_clocks_disagree_periods_go_by_time_and_keep_last_by_number() -> None:
    versions = [at(1, 2026, 1, 1, 8, 10), at(2, 2026, 1, 1, 8, 50), at(3, 2026, 1, 1, 8, 20), at(4, 2026, 1, 1, 9)]
    hourly = plan_retention(versions, RetentionRules(keep_last=1, keep_hourly=2), NOW)
    assert numbers(hourly.going) == [1, 3]
    assert numbers(plan_retention(versions, last(2), NOW).going) == [1, 2]


def test_the_newest_good_version_stays_at_any_age_and_so_do_pinned_ones() -> None:
    versions = [checkpoint(1, age_s=500, pinned=True), checkpoint(2, age_s=400), checkpoint(3, age_s=300)]
    plan = plan_retention(versions, RetentionRules(keep_last=9, max_age=timedelta(seconds=100)), NOW)
    assert numbers(plan.going) == [2]
    assert plan.wake_at is None


def test_a_version_goes_at_the_instant_at_which_it_has_reached_the_limit() -> None:
    versions = [checkpoint(1, age_s=90), checkpoint(2, age_s=50), checkpoint(3, age_s=10)]
    rules = RetentionRules(max_age=timedelta(seconds=100))
    plan = plan_retention(versions, rules, NOW)
    assert plan.going == ()
    assert plan.wake_at == NOW + timedelta(seconds=10)
    then = plan_retention(versions, rules, plan.wake_at)
    assert numbers(then.going) == [1]
    assert then.wake_at == NOW + timedelta(seconds=50)


def test_without_a_limit_time_lets_nothing_go() -> None:
    rules = RetentionRules(keep_last=1, keep_hourly=24, keep_daily=7, keep_weekly=4)
    plan = plan_retention(HISTORY, rules, NOW)
    assert plan.wake_at is None
    assert plan_retention(HISTORY, rules, NOW + timedelta(days=1000)).going == plan.going


def test_a_version_that_nobody_knows_the_age_of_counts_for_keep_last_only() -> None:
    versions = [checkpoint(number, taken_at=None, created_at=None) for number in (1, 2, 3)]
    rules = RetentionRules(keep_last=2, keep_daily=5, max_age=timedelta(days=1))
    plan = plan_retention(versions, rules, NOW)
    assert numbers(plan.going) == [1]
    assert plan.wake_at is None

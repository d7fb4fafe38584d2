"""When the next version is due."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.ident import Ref
from swarmkeep.model.policy import parse_policy
from swarmkeep.plan.schedule import LONGEST_BACKOFF, next_due, overdue_after

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORKLOAD = Ref("default", "redis.1")
POLICY = parse_policy(
    {
        "metadata": {"name": "redis", "namespace": "default"},
        "spec": {"selector": {"service": "redis"}, "schedule": {"every": "30s"}, "storage": ["main"]},
    }
)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC)))
def test_a_version_is_due_one_interval_later_give_or_take_the_jitter(taken_at: datetime) -> None:
    due = next_due(POLICY, WORKLOAD, taken_at, 0)
    assert due is not None
    assert abs((due - taken_at) - POLICY.every) <= POLICY.every * POLICY.jitter
    assert due == next_due(POLICY, WORKLOAD, taken_at, 0)


def test_workloads_do_not_all_come_due_together() -> None:
    assert len({next_due(POLICY, Ref("default", f"redis.{slot}"), NOW, 0) for slot in range(50)}) > 40


def test_a_suspended_policy_has_nothing_due() -> None:
    assert next_due(replace(POLICY, suspend=True), WORKLOAD, NOW, 0) is None


@given(st.integers(1, 10_000))
def test_failures_wait_longer_but_never_without_end(failures: int) -> None:
    policy = replace(POLICY, jitter=0.0)
    due = next_due(policy, WORKLOAD, NOW, failures)
    assert due is not None
    assert policy.every < due - NOW <= LONGEST_BACKOFF


def test_backing_off_is_never_more_eager_than_the_schedule() -> None:
    policy = replace(POLICY, jitter=0.0, every=timedelta(hours=2))
    assert next_due(policy, WORKLOAD, NOW, 3) == NOW + timedelta(hours=2)


def test_one_missed_version_is_no_alarm() -> None:
    assert overdue_after(POLICY) > 2 * POLICY.every

"""Which versions are read back unasked, and when."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmkeep.model.checkpoint import Checkpoint, CheckpointPhase, CopyState, How, Look, Result
from swarmkeep.plan.scrub import must_note_scrub, plan_scrub
from swarmkeep.plan.workers import Worker

from ..objects import NOW, ago, checkpoint, worker, workload
from .test_verification import DAY, WORKERS, order, seen


def scrub(*items: Checkpoint, workers: tuple[Worker, ...] = WORKERS, interval: timedelta = DAY, **status: Any) -> Any:
    return plan_scrub(items, workload(**status), workers, interval, NOW)


def test_what_was_not_looked_at_for_longest_comes_first() -> None:
    old, older = checkpoint(1, age_s=200_000), checkpoint(2, age_s=90_000, verified=seen(age_s=90_000))
    chosen, _ = scrub(old, older)
    assert chosen.ref == old.ref
    assert chosen.order["node"] == "n1"
    chosen, _ = scrub(replace(old, verified=seen(age_s=50_000)), older)
    assert chosen.ref == older.ref


def test_nothing_is_due_before_its_time() -> None:
    chosen, due = scrub(checkpoint(1, age_s=100), checkpoint(2, age_s=50))
    assert chosen is None
    assert due == ago(100) + DAY


def test_where_versions_come_and_go_the_newest_good_one_is_read_once_in_an_interval() -> None:
    young = (checkpoint(7, age_s=20), checkpoint(8, age_s=10), checkpoint(9, CheckpointPhase.DELETING, age_s=5))
    chosen, _ = scrub(*young, scrubbedAt="2025-12-31T11:59:00Z")
    assert chosen.ref.name == "redis.1-v8"
    assert scrub(*young, scrubbedAt="2025-12-31T12:01:00Z")[0] is None


def test_where_one_is_damaged_the_others_are_looked_at_at_once_the_newest_first() -> None:
    damaged = checkpoint(1, age_s=500, verified=seen(1, Result.DAMAGED, age_s=100))
    cleared, suspect = checkpoint(2, age_s=400, verified=seen(age_s=90)), checkpoint(3, age_s=300)
    newer = checkpoint(4, age_s=99, verified=seen(1, None, at=None, full_at=None, trouble="slow", trouble_at=ago(150)))
    assert scrub(damaged, cleared, suspect, newer)[0].ref == newer.ref
    assert scrub(damaged, cleared, suspect)[0].ref == suspect.ref
    assert scrub(damaged, cleared)[0] is None


def test_a_version_that_failed_to_be_restored_is_looked_at_at_once_and_not_over_and_over() -> None:
    failed, other = checkpoint(3, age_s=60), checkpoint(4, age_s=30)
    assert scrub(failed, other, failedRestores={"3": 2})[0].ref == failed.ref
    assert scrub(replace(failed, verified=seen(age_s=3000)), other, failedRestores={"3": 2})[0] is None
    assert scrub(replace(failed, verified=seen(age_s=4000)), other, failedRestores={"3": 2})[0] is not None


@pytest.mark.parametrize(
    "item",
    [
        checkpoint(1, CheckpointPhase.DELETING, age_s=200_000),
        checkpoint(1, age_s=200_000, deleting=True),
        checkpoint(None, CheckpointPhase.FAILED, age_s=200_000),
        checkpoint(1, age_s=200_000, verification=order()),
    ],
)
def test_what_is_on_its_way_out_or_under_way_is_left_alone(item: Checkpoint) -> None:
    assert scrub(item)[0] is None


def test_one_at_a_time_for_each_workload() -> None:
    assert scrub(checkpoint(1, age_s=200_000), checkpoint(2, age_s=300_000, verification=order()))[0] is None
    assert scrub(checkpoint(1, age_s=200_000), checkpoint(2, wish="t1"))[0] is None


def look(result: Result = Result.GOOD, age_s: float = 100, damaged_s: float | None = None) -> Look:
    moment = ago(age_s)
    return Look(result, moment, How.FULL, moment, None, None if damaged_s is None else ago(damaged_s))


def two(number: int, main: Look | None, far: Look | None, age_s: float = 200_000) -> Checkpoint:
    """A version in two locations, and what was found in each."""
    copies = {"main": CopyState.STORED, "far": CopyState.STORED}
    looks = {name: found for name, found in (("main", main), ("far", far)) if found is not None}
    verified = replace(seen(), looks=looks) if looks else None
    return checkpoint(number, CheckpointPhase.REPLICATED, age_s=age_s, copies=copies, verified=verified)


BOTH = (worker("n1", "main", "far"), worker("n2", "main"))


def test_all_locations_are_gone_round() -> None:
    chosen, _ = scrub(two(1, look(), None), workers=BOTH)
    assert (chosen.order["node"], chosen.order["locations"]) == ("n1", ["far"])
    chosen, _ = scrub(two(1, look(age_s=150_000), look(age_s=170_000)), workers=BOTH)
    assert chosen.order["locations"] == ["far"]
    assert scrub(two(1, look(), look()), workers=BOTH)[0] is None


def test_a_location_that_no_node_reaches_does_not_keep_the_others_waiting() -> None:
    chosen, _ = scrub(two(1, look(age_s=150_000), None))
    assert chosen.order["locations"] == ["main"]


def test_where_versions_come_and_go_the_locations_take_turns() -> None:
    young = two(8, look(age_s=90_000), None, age_s=10)
    chosen, _ = scrub(young, workers=BOTH, scrubbedAt="2025-12-31T11:59:00Z")
    assert chosen.order["locations"] == ["far"]


def test_damage_in_one_location_casts_doubt_on_the_versions_there_and_on_no_others() -> None:
    hurt = two(1, look(Result.DAMAGED, damaged_s=100), look(age_s=100))
    doubted = two(2, look(age_s=500), look(age_s=500), age_s=400)
    chosen, _ = scrub(hurt, doubted, workers=BOTH)
    assert (chosen.ref, chosen.order["locations"]) == (doubted.ref, ["main"])
    repaired = two(1, look(damaged_s=100), look(age_s=100))
    assert scrub(repaired, doubted, workers=BOTH)[0].ref == doubted.ref, "its repair healed no other"


def test_damage_that_another_location_can_heal_is_tried_again_after_a_while() -> None:
    def damaged(age_s: float, far: Result) -> Checkpoint:
        return two(1, look(Result.DAMAGED, age_s=age_s, damaged_s=age_s), look(far, age_s=100))

    assert scrub(damaged(4000, Result.GOOD), workers=BOTH)[0].order["locations"] == ["main"]
    assert scrub(damaged(3000, Result.GOOD), workers=BOTH)[0] is None
    assert scrub(damaged(4000, Result.DAMAGED), workers=BOTH)[0] is None, "there is nothing to heal it with"


def test_a_location_that_gave_a_restore_wrong_bytes_is_looked_at_at_once() -> None:
    start = {"how": "Restored", "version": 1, "wrongIn": ["main"]}
    chosen, _ = scrub(two(1, look(age_s=5000), look(age_s=90_000), age_s=90_000), workers=BOTH, lastStart=start)
    assert chosen.order["locations"] == ["main"]


def test_an_interval_of_zero_turns_it_off() -> None:
    assert scrub(checkpoint(1, age_s=2_000_000), interval=timedelta()) == (None, None)


def test_a_version_that_cannot_be_read_does_not_keep_the_others_waiting() -> None:
    hard = checkpoint(1, age_s=300_000, verified=seen(1, None, at=None, full_at=None, trouble="slow", trouble_at=NOW))
    other = checkpoint(2, age_s=200_000)
    assert scrub(hard, other)[0].ref == other.ref


def test_a_node_whose_clock_runs_ahead_puts_nothing_off_for_ever() -> None:
    ahead = checkpoint(1, age_s=300_000, verified=seen(full_at=NOW + 10 * DAY))
    chosen, due = scrub(ahead)
    assert chosen is None
    assert due == NOW + DAY


@pytest.mark.parametrize(
    ("given_now", "wish", "scrubbed_at", "interval", "noted"),
    [
        (True, "", None, DAY, True),
        (False, "", None, DAY, True),
        (False, "t1", None, DAY, False),
        (True, "", "2025-12-31T12:00:01Z", DAY, False),
        (True, "", "2025-12-31T12:00:00Z", DAY, True),
        (True, "", None, timedelta(), False),
    ],
)
def test_a_scrub_is_noted_once_whatever_died_in_between(
    given_now: bool, wish: str, scrubbed_at: str | None, interval: timedelta, noted: bool
) -> None:
    status = {"scrubbedAt": scrubbed_at} if scrubbed_at else {}
    items = [checkpoint(1, verification=order(wish=wish))]
    assert must_note_scrub(items, workload(**status), interval, NOW, given=given_now) is noted


numbers = st.integers(1, 9)
moments = st.one_of(st.none(), st.integers(0, 400_000))


@settings(deadline=None)
@given(st.lists(st.tuples(numbers, moments, st.booleans(), st.booleans()), max_size=9, unique_by=lambda row: row[0]))
def test_a_scrub_chooses_only_what_is_stored_and_its_next_look_lies_ahead(rows: list[Any]) -> None:
    items = [
        checkpoint(
            number,
            CheckpointPhase.STORED if stored else CheckpointPhase.DELETING,
            age_s=400_000 if old else 100,
            verified=None if checked is None else seen(age_s=checked),
        )
        for number, checked, stored, old in rows
    ]
    chosen, due = scrub(*items)
    if chosen is not None:
        assert next(item for item in items if item.ref == chosen.ref).phase is CheckpointPhase.STORED
    elif due is not None:
        assert due > NOW
    else:
        assert not any(item.phase is CheckpointPhase.STORED for item in items)

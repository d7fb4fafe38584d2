"""What is copied next, and who is behind."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.checkpoint import CheckpointPhase, CopyState, Reason
from swarmkeep.model.conditions import Status
from swarmkeep.model.workload import Replica
from swarmkeep.plan.replication import SETTLED_AFTER, Original, anchors, next_copy, plan_replicated

from ..objects import NOW, ago, checkpoint, newest, policy, workload


def original(number: int, age_s: float = 10, reason: Reason = Reason.SCHEDULE) -> Original:
    return Original(number, ago(age_s), reason)


def test_the_newest_goes_first_and_what_it_overtook_is_left_out() -> None:
    versions = [original(number) for number in (1, 2, 3)]
    assert next_copy(versions, set(), NOW) == 3
    assert next_copy(versions, {3}, NOW) is None
    assert next_copy(versions, {1, 2, 3}, NOW) is None
    assert next_copy([], set(), NOW) is None


def test_final_versions_and_those_that_were_asked_for_follow_all_the_same() -> None:
    versions = [original(1, reason=Reason.FINAL), original(2, reason=Reason.ON_DEMAND), original(3), original(4)]
    assert next_copy(versions, {4}, NOW) == 2
    assert next_copy(versions, {4, 2}, NOW) == 1
    assert next_copy(versions, {4, 2, 1}, NOW) is None


def test_what_is_kept_for_long_is_copied_when_there_is_time() -> None:
    old = SETTLED_AFTER.total_seconds()
    versions = [original(1, old), original(2, old - 1), original(3)]
    assert next_copy(versions, {3}, NOW) == 1
    assert next_copy(versions, {1, 3}, NOW + timedelta(seconds=1)) == 2


@given(st.lists(st.sampled_from(Reason), max_size=12), st.sets(st.integers(1, 12)), st.integers(0, 2000))
def test_copying_ends_with_the_newest_there_and_nothing_that_matters_missing(
    reasons: list[Reason], present: set[int], age_s: int
) -> None:
    versions = [original(number, age_s, reason) for number, reason in enumerate(reasons, 1)]
    for _ in range(len(versions) + 1):
        number = next_copy(versions, present, NOW)
        if number is None:
            break
        assert number not in present
        present.add(number)
    else:
        raise AssertionError("it does not come to an end")
    if versions:
        assert len(versions) in present
    assert all(item.number in present for item in versions if item.reason is not Reason.SCHEDULE)
    assert next_copy(versions, present, NOW + SETTLED_AFTER) is None or age_s < SETTLED_AFTER.total_seconds()


@pytest.mark.parametrize(
    ("replica", "reason", "words"),
    [
        (None, "Replicated", "far keeps up with main"),
        (Replica("far", 5, ago(3), ""), "Replicated", "keeps up"),
        (Replica("far", 4, ago(13), ""), "Replicated", "keeps up"),
        (Replica("far", 1, ago(60), ""), "Behind", "far lacks redis.1: it has version 1 of 5: it is too slow"),
        (Replica("far", 4, ago(13), "disk full"), "Behind", "it has version 4 of 5: disk full"),
        (Replica("far", None, None, "disk full"), "Behind", "it has no version yet: disk full"),
        (Replica("far", None, None, ""), "Replicated", "keeps up"),
    ],
)
def test_a_location_is_behind_when_copying_fails_or_is_too_slow(
    replica: Replica | None, reason: str, words: str
) -> None:
    two = policy(storage=["main", "far"])
    members = [(workload(newestVersion=newest()), (replica,) if replica else ())]
    found = plan_replicated(two, {"main": (), "far": ()}, members)
    assert found.reason == reason
    assert found.status == (Status.TRUE if reason == "Replicated" else Status.FALSE)
    assert words in found.message


def test_a_further_location_that_does_not_exist_is_named() -> None:
    found = plan_replicated(policy(storage=["main", "far"]), {"main": (), "far": None}, [])
    assert (found.status, found.reason) == (Status.FALSE, "StorageLocationMissing")
    assert plan_replicated(policy(), {"main": ()}, []).reason == "OneLocation"


def test_the_newest_version_of_each_location_is_never_pruned() -> None:
    both = {"main": CopyState.STORED, "far": CopyState.STORED}
    behind = {"main": CopyState.STORED, "far": CopyState.PENDING}
    versions = [
        checkpoint(1, CheckpointPhase.REPLICATED, copies=both),
        checkpoint(2, CheckpointPhase.REPLICATED, copies=both),
        checkpoint(3, copies=behind),
        checkpoint(4, copies=behind),
        checkpoint(5, deleting=True, copies=both),
    ]
    assert anchors(versions) == {2: "the newest in far"}
    assert anchors(versions[:2]) == {}
    assert anchors([]) == {}

"""Which versions go."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.checkpoint import Checkpoint, CheckpointPhase, How, Result, Verified
from swarmkeep.plan.retention import FAILURES_KEPT, plan_retention

from ..objects import NOW, checkpoint


def numbers(checkpoints: Iterable[Checkpoint]) -> list[int | None]:
    return [item.version for item in checkpoints]


def test_the_newest_stay_and_the_oldest_goes_first() -> None:
    versions = [checkpoint(number) for number in (3, 10, 1, 2, 9)]
    assert numbers(plan_retention(versions, 2)) == [1, 2, 3]


def test_a_failed_version_does_not_count_as_good() -> None:
    versions = [checkpoint(1), checkpoint(2), checkpoint(3, CheckpointPhase.FAILED, name="failed")]
    assert numbers(plan_retention(versions, 1)) == [1]


def test_pinned_and_kept_versions_stay_on_top() -> None:
    versions = [checkpoint(1, pinned=True), checkpoint(2), checkpoint(3), checkpoint(4)]
    assert numbers(plan_retention(versions, 1, {2})) == [3]


def test_what_is_on_its_way_is_not_touched() -> None:
    versions = [
        checkpoint(1, CheckpointPhase.DELETING),
        checkpoint(2, deleting=True),
        checkpoint(3, CheckpointPhase.STORING),
        checkpoint(4),
    ]
    assert plan_retention(versions, 1) == ()


DAMAGED = Verified(1, NOW, How.FULL, Result.DAMAGED, NOW, "", "", None)


def test_a_damaged_version_does_not_count_as_good() -> None:
    versions = [checkpoint(1), checkpoint(2), checkpoint(3, verified=DAMAGED), checkpoint(4, verified=DAMAGED)]
    assert numbers(plan_retention(versions, 1)) == [1]
    assert plan_retention(versions, 2) == ()
    assert numbers(plan_retention([*versions, checkpoint(5)], 1)) == [1, 2, 3, 4]


def test_of_failures_the_newest_few_stay() -> None:
    failures = [checkpoint(None, CheckpointPhase.FAILED, name=f"f{age}", age_s=age) for age in range(10)]
    gone = plan_retention(failures, 5)
    assert len(gone) == 10 - FAILURES_KEPT
    assert not {"f0", "f1", "f2"} & {item.ref.name for item in gone}


phases = st.sampled_from(list(CheckpointPhase))


@given(
    st.lists(st.tuples(st.integers(1, 30), phases, st.booleans(), st.booleans(), st.booleans()), max_size=30),
    st.integers(1, 8),
    st.sets(st.integers(1, 30)),
)
def test_the_newest_good_version_never_goes(
    rows: list[tuple[int, CheckpointPhase, bool, bool, bool]], keep_last: int, kept: set[int]
) -> None:
    versions = [
        checkpoint(
            number,
            phase,
            name=f"c{index}",
            pinned=pinned,
            deleting=deleting,
            verified=DAMAGED if damaged else None,
        )
        for index, (number, phase, pinned, deleting, damaged) in enumerate(rows)
    ]
    gone = plan_retention(versions, keep_last, kept)
    good = [item for item in versions if item.is_good]
    left = [item for item in good if item not in gone]
    if good:
        assert max(item.version or 0 for item in left) == max(item.version or 0 for item in good)
    assert len(left) >= min(keep_last, len(good))
    assert not any(item.pinned or item.version in kept for item in gone)
    assert not plan_retention([item for item in versions if item not in gone], keep_last, kept)

"""Which versions are restored in isolation, what the answer says, and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.checkpoint import (
    Checkpoint,
    CheckpointPhase,
    How,
    Passed,
    Result,
    TriedRestore,
    Verification,
    Verified,
    parse_checkpoint,
)
from swarmkeep.model.conditions import Status
from swarmkeep.model.policy import RetentionRules
from swarmkeep.model.wire import format_time
from swarmkeep.plan.actions import Tell
from swarmkeep.plan.pruning import plan_pruning
from swarmkeep.plan.restore_tests import AGAIN_AFTER, newest_proven, plan_test_restore, restorable
from swarmkeep.plan.retention import plan_retention
from swarmkeep.plan.verification import Finding, Trial, answer, plan_verification

from ..objects import NOW, checkpoint, newest, policy, stamp, worker, workload

WORKERS = (worker("n1"), worker("n2"))


def tried(number: int, passed: Passed = Passed.PASSED, **fields: Any) -> Checkpoint:
    restore = TriedRestore(NOW, "n2", passed, "3 processes came up" if passed is Passed.PASSED else "no such file")
    result = Result.UNRESTORABLE if passed is Passed.FAILED else Result.GOOD
    return checkpoint(number, verified=Verified(1, NOW, How.RESTORE, result, NOW, "", "", None, (), restore), **fields)


def chosen(items: list[Checkpoint], every: int = 3) -> int | None:
    step = plan_test_restore(items, workload(), WORKERS, every, NOW)
    if step is None:
        return None
    assert step.order["how"] == "Restore"
    assert step.order["node"] == "n1"
    return next(item.version for item in items if item.ref == step.ref)


@pytest.mark.parametrize(
    ("items", "version"),
    [
        ([checkpoint(1), checkpoint(2)], None),
        ([checkpoint(2), checkpoint(3), checkpoint(4)], 3),
        ([checkpoint(3), checkpoint(6), checkpoint(8)], 6),
        ([tried(3), checkpoint(4)], None),
        ([tried(3), checkpoint(6)], 6),
        ([tried(3, Passed.FAILED), checkpoint(5)], None),
        ([tried(3, Passed.UNKNOWN), checkpoint(5)], None),
        # Somebody asked for a newer one: that says more than an older one can.
        ([checkpoint(3), tried(4)], None),
        ([checkpoint(4), checkpoint(5)], None),
        ([checkpoint(3, CheckpointPhase.FAILED)], None),
        ([checkpoint(3), checkpoint(4, verification=Verification(1, "n1", How.FULL, ""))], None),
        ([checkpoint(3), checkpoint(4, wish=stamp())], None),
    ],
)
def test_the_newest_version_with_the_right_number_is_tried_once(items: list[Checkpoint], version: int | None) -> None:
    assert chosen(items) == version
    assert plan_test_restore(items, workload(), WORKERS, 0, NOW) is None
    assert plan_test_restore(items, workload(), (worker("n3", "other"),), 3, NOW) is None


def test_what_could_not_be_read_is_tried_again_much_later() -> None:
    trouble = Verified(1, None, How.RESTORE, None, None, "", "no room", NOW)
    assert chosen([checkpoint(3, verified=trouble)]) is None
    assert chosen([checkpoint(3, verified=replace(trouble, trouble_at=NOW - AGAIN_AFTER))]) == 3


@given(st.integers(1, 4), st.integers(1, 40), st.integers(1, 8), st.integers(1, 3))
def test_every_nth_version_that_lives_long_enough_is_tried(every: int, count: int, kept: int, pace: int) -> None:
    """A test takes as long as `pace` versions, of which the newest `kept` stay."""
    done: set[int] = set()
    for newest_number in range(1, count + 1):
        numbers = range(max(1, newest_number - kept + 1), newest_number + 1)
        items = [tried(number) if number in done else checkpoint(number) for number in numbers]
        version = chosen(items, every)
        if version is not None and newest_number % pace == 0:
            assert version % every == 0
            assert version not in done
            assert not [number for number in done if number > version]
            done.add(version)
    if pace == 1 or (kept >= pace and every >= pace):
        assert done >= set(range(every, count + 1 - pace, every))


ORDERED = Verification(1, "n1", How.RESTORE, "")


def answered(trial: Trial | None, before: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    finding = Finding(NOW, "n1", 4096, trial=trial, **fields)
    return answer(checkpoint(3, verification=ORDERED), before or {}, {"main": finding})


@pytest.mark.parametrize(
    ("trial", "problems", "result", "restore"),
    [
        (Trial(Passed.PASSED, "fine", 2, 0.5), (), "Good", "Passed"),
        (Trial(Passed.FAILED, "no such file"), (), "Unrestorable", "Failed"),
        (Trial(Passed.UNKNOWN, "it is privileged"), (), "Good", "Unknown"),
        (None, (("image/pages-1.img", "hash"),), "Damaged", None),
    ],
)
def test_the_answer_tells_bytes_and_restore(
    trial: Trial | None, problems: tuple[tuple[str, str], ...], result: str, restore: str | None
) -> None:
    said = answered(trial, problems=problems)
    assert (said["result"], said["how"], said["fullAt"]) == (result, "Restore", format_time(NOW))
    assert said.get("restore", {}).get("result") == restore


def test_reading_the_bytes_again_does_not_take_back_what_a_test_restore_found() -> None:
    failed = answered(Trial(Passed.FAILED, "no such file"))
    full = answer(
        checkpoint(3, verification=Verification(2, "n1", How.FULL, "")), failed, {"main": Finding(NOW, "n1", 1)}
    )
    assert full["result"] == "Unrestorable"
    assert "restore" not in full, "the last test restore stands"
    again = answered(Trial(Passed.PASSED, "fine"), failed)
    assert again["result"] == "Good"


def test_an_answer_is_read_as_it_was_written_and_told() -> None:
    obj = {
        "metadata": {"namespace": "default", "name": "redis.1-v3"},
        "spec": {"workload": "redis.1"},
        "status": {
            "phase": "Stored",
            "version": 3,
            "location": "main",
            "verification": {"number": 1, "node": "n1", "how": "Restore"},
            "verified": answered(Trial(Passed.FAILED, "no such file", 0, None)),
        },
    }
    item = parse_checkpoint(obj)
    assert item.is_unrestorable
    assert item.is_good, "its bytes are right"
    assert item.tried_restore == TriedRestore(NOW, "n1", Passed.FAILED, "no such file")
    made = plan_verification(item, workload(), WORKERS, True, NOW)
    assert [action.message for action in made.actions if isinstance(action, Tell) and action.warning] == [
        "test restore on n1: Failed. no such file"
    ]
    assert made.status is not None
    assert made.status.fields == {"verification": None}


@pytest.mark.parametrize(
    ("items", "status", "words"),
    [
        ([tried(3)], Status.TRUE, "version 3 in a test restore on n2: 3 processes came up"),
        ([tried(3), tried(6, Passed.FAILED)], Status.FALSE, "version 3 is the newest that came up in one"),
        ([tried(3, Passed.FAILED)], Status.FALSE, "none has come up in one"),
        ([tried(3), tried(6, Passed.UNKNOWN)], Status.UNKNOWN, "version 6"),
        ([tried(3, Passed.FAILED), tried(6)], Status.TRUE, "version 6"),
    ],
)
def test_the_condition_says_what_the_newest_test_restore_found(
    items: list[Checkpoint], status: Status, words: str
) -> None:
    found = restorable(items)
    assert found is not None
    assert found.status is status
    assert words in found.message


def test_nothing_is_said_of_what_was_never_tried() -> None:
    assert restorable([checkpoint(3)]) is None


def test_the_newest_version_that_is_known_to_come_up_is_not_pruned() -> None:
    items = [tried(1), tried(2), checkpoint(3), tried(4, Passed.FAILED), checkpoint(5)]
    assert newest_proven(items) == 2
    rules = policy(retention={"keepLast": 1})
    plan = plan_pruning(workload(newestVersion=newest()), rules, items, NOW, node_lost=False)
    assert [item.version for item in plan.going] == [1, 3, 4]


def test_trials_go_the_way_of_failed_tries() -> None:
    trials = [checkpoint(None, CheckpointPhase.TRIED, name=f"t{age}", age_s=age) for age in range(5)]
    assert {item.ref.name for item in plan_retention(trials, RetentionRules(), NOW).going} == {"t3", "t4"}

"""Whether versions of a workload may go now at all, and what the rules say meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from swarmkeep.plan.pruning import Pruning, plan_pruning

from ..objects import NOW, checkpoint, newest, policy, stamp, workload

VERSIONS = [checkpoint(number, age_s=100 - number) for number in range(1, 6)]


def pruning(*, node_lost: bool = False, stopped_too: bool = False, with_policy: bool = True, **status: Any) -> Pruning:
    rules = {"keepLast": 3, "maxAge": "2m"}
    return plan_pruning(
        workload(newestVersion=newest(), **status),
        policy(retention=rules) if with_policy else None,
        VERSIONS,
        NOW,
        node_lost=node_lost,
        stopped_too=stopped_too,
    )


def test_while_all_is_well_the_rules_are_followed() -> None:
    plan = pruning()
    assert plan.hindrance == ""
    assert [item.version for item in plan.going] == [1, 2]
    assert plan.wake_at == NOW - timedelta(seconds=97) + timedelta(minutes=2)


@pytest.mark.parametrize(
    ("facts", "because"),
    [
        ({"with_policy": False}, "its policy redis does not exist or cannot be carried out"),
        ({"node_lost": True}, "n1, which has the right to run it, is lost"),
        (
            {"failedRestores": {"7": 1, "5": 3}},
            "it could not be restored from version 5, 7: an older one may be needed",
        ),
        ({"phase": "Restoring"}, "it is Restoring, not Running: one of them may be needed"),
        ({"phase": "Held"}, "it is Held, not Running: one of them may be needed"),
        ({"phase": "Stopped"}, "it is Stopped: its versions stay until somebody wants them gone"),
    ],
)
def test_else_nothing_goes_and_it_says_why(facts: dict[str, Any], because: str) -> None:
    plan = pruning(**facts)
    assert plan.hindrance == because
    assert plan.going == ()
    assert plan.wake_at is None
    assert bool(plan.retention.going) is facts.get("with_policy", True), "what the rules say can still be seen"


@pytest.mark.parametrize(
    ("facts", "goes"),
    [
        ({"phase": "Stopped"}, True),
        ({"phase": "Stopped", "node_lost": True}, False),
        ({"phase": "Stopped", "failedRestores": {"5": 1}}, False),
        ({"phase": "Restoring"}, False),
        ({"phase": "Lost"}, False),
        ({"phase": "Stopped", "with_policy": False}, False),
    ],
)
def test_somebody_may_want_a_stopped_one_pruned_too(facts: dict[str, Any], goes: bool) -> None:
    assert bool(pruning(stopped_too=True, **facts).going) is goes


@pytest.mark.parametrize(
    ("reason", "why"),
    [("NoVersion", "missed by a cold start"), ("NewService", "the last of an earlier service of this name")],
)
def test_the_version_that_a_fresh_start_left_behind_stays_and_says_why(reason: str, why: str) -> None:
    start = {"how": "Fresh", "reason": reason, "taskID": "t1", "at": stamp(98.5)}
    verdicts = pruning(lastStart=start).retention.verdicts
    assert [(v.checkpoint.version, v.why) for v in verdicts][-2:] == [(2, "no rule keeps it"), (1, why)]


def test_the_version_gone_back_to_stays_until_what_runs_has_enough_of_its_own() -> None:
    left_behind = [{"above": 1, "upTo": 5}]
    assert [item.version for item in pruning(leftBehind=left_behind).going] == [2]

    def going(newest_of_all: int) -> list[int | None]:
        own = [checkpoint(number, age_s=10 - number) for number in range(6, newest_of_all + 1)]
        plan = plan_pruning(
            workload(newestVersion=newest(newest_of_all), leftBehind=left_behind),
            policy(retention={"keepLast": 3}),
            [*VERSIONS, *own],
            NOW,
            node_lost=False,
        )
        return [item.version for item in plan.going]

    assert going(6) == [2, 3]
    assert going(7) == [2, 3, 4]
    assert going(8) == [1, 2, 3, 4, 5]


def test_versions_from_before_it_began_to_crash_stay_whatever_is_taken_since() -> None:
    taken = [checkpoint(number, age_s=(9 - number) * 10) for number in range(1, 9)]
    row = {"inRow": 3, "since": stamp(25), "lastAt": stamp(), "restoreAfter": stamp()}

    def going(**status: Any) -> list[int | None]:
        told = workload(newestVersion=newest(8), **status)
        plan = plan_pruning(told, policy(retention={"keepLast": 2}), taken, NOW, node_lost=False)
        return [item.version for item in plan.going]

    assert going() == [1, 2, 3, 4, 5, 6]
    assert going(crashes=row) == [1, 2, 3, 4]


def test_a_version_that_somebody_goes_back_to_stays() -> None:
    plan = pruning(order={"uid": "u", "restore": "back", "version": 1, "when": "Now"})
    assert [item.version for item in plan.going] == [2]

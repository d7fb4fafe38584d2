"""What is true of a workload: phase, Protected, Drift, and which versions it lets go."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from swarmkeep.model.checkpoint import (
    Checkpoint,
    CheckpointPhase,
    How,
    Passed,
    Result,
    TriedRestore,
    Verified,
)
from swarmkeep.model.conditions import Condition, merge_conditions
from swarmkeep.plan.actions import AssignCheckpoint, Plan, Tell, VerifyCheckpoint
from swarmkeep.plan.schedule import overdue_after
from swarmkeep.plan.workload_status import Place, WorkloadView, plan_workload

from ..objects import NOW, ago, checkpoint, newest, policy, stamp, task, worker, workload

LIMIT_S = overdue_after(policy()).total_seconds()


def view(status: dict[str, Any] | None = None, **fields: Any) -> WorkloadView:
    base = WorkloadView(
        workload=workload(**{"newestVersion": newest(), **(status or {})}),
        generation=1,
        has_phase=True,
        failure="",
        started_at=ago(3600),
        conditions=(),
        policy=policy(retention={"keepLast": 2}),
        selected=True,
        place=Place.WANTED,
        task=task(),
        task_node="n1",
        node_lost=False,
        checkpoints=(),
        workers=(worker("n1"),),
    )
    return replace(base, **fields)


def condition(plan: Plan, type_: str) -> Condition:
    assert plan.status is not None
    return next(item for item in plan.status.conditions if item.type == type_)


def told(plan: Plan) -> list[str]:
    return [action.reason for action in plan.actions if isinstance(action, Tell)]


@pytest.mark.parametrize(
    ("status", "fields", "reason"),
    [
        ({}, {}, "Protected"),
        ({"newestVersion": newest(age_s=LIMIT_S)}, {}, "Overdue"),
        ({"newestVersion": newest(age_s=LIMIT_S - 0.1)}, {}, "Protected"),
        ({"newestVersion": None}, {}, "NoVersion"),
        ({"newestVersion": newest(spec_hash="other")}, {}, "SpecChanged"),
        ({}, {"policy": None}, "PolicyGone"),
        ({}, {"selected": False}, "NotSelected"),
        ({}, {"place": Place.SERVICE_GONE}, "ServiceGone"),
        ({}, {"place": Place.NOT_WANTED}, "NotWanted"),
        ({}, {"place": Place.UNKNOWN}, "Protected"),
        (
            {"newestVersion": newest(age_s=LIMIT_S)},
            {"policy": policy(schedule={"every": "10s", "suspend": True})},
            "Suspended",
        ),
    ],
)
def test_protected(status: dict[str, Any], fields: dict[str, Any], reason: str) -> None:
    found = condition(plan_workload(view(status, **fields), NOW), "Protected")
    assert (found.status, found.reason) == ("True" if reason == "Protected" else "False", reason)


def damaged(number: int, **fields: Any) -> Checkpoint:
    return checkpoint(number, verified=Verified(1, NOW, How.FULL, Result.DAMAGED, NOW, "", "", None), **fields)


def test_a_damaged_newest_version_protects_nothing() -> None:
    plan = plan_workload(view(checkpoints=(checkpoint(4), damaged(5))), NOW)
    found = condition(plan, "Protected")
    assert (found.status, found.reason) == ("False", "Damaged")
    assert "version 4 is the newest good one" in found.message
    assert told(plan) == ["VersionDamaged"]
    shown = condition(plan, "Intact")
    assert (shown.status, shown.reason) == ("False", "Damaged")


def test_damage_is_told_once_for_each_set_of_damaged_versions() -> None:
    first = plan_workload(view(checkpoints=(checkpoint(4), damaged(3))), NOW)
    before = tuple(merge_conditions([], [condition(first, "Intact")], NOW, 1))
    assert told(plan_workload(view(checkpoints=(checkpoint(4), damaged(3)), conditions=before), NOW)) == []
    more = plan_workload(view(checkpoints=(checkpoint(4), damaged(3), damaged(2)), conditions=before), NOW)
    assert told(more) == ["VersionDamaged"]


def test_a_crash_loop_is_told_once_and_goes_when_it_is_over() -> None:
    crashes = {"inRow": 3, "outOfMemory": 0, "since": stamp(9), "lastAt": stamp(1), "restoreAfter": stamp(0)}
    first = plan_workload(view({"crashes": crashes}), NOW)
    assert told(first) == ["CrashLoop"]
    assert condition(first, "CrashLoop").status == "True"
    before = tuple(merge_conditions([], [condition(first, "CrashLoop")], NOW, 1))
    assert told(plan_workload(view({"crashes": crashes | {"inRow": 4}}, conditions=before), NOW)) == []
    assert condition(plan_workload(view(conditions=before), NOW), "CrashLoop").status == "False"
    quiet = plan_workload(view(), NOW).status
    assert quiet is not None
    assert "CrashLoop" not in [each.type for each in quiet.conditions]


def test_a_version_is_test_restored_before_others_are_read_back_and_a_failure_is_told_once() -> None:
    rules = policy(checkpoint={"verify": {"restoreEvery": 2}})
    due = view(policy=rules, checkpoints=(checkpoint(4, age_s=90_000),), scrub_interval=timedelta(days=1))
    plan = plan_workload(due, NOW)
    (step,) = plan.actions
    assert isinstance(step, VerifyCheckpoint)
    assert step.order["how"] == "Restore"
    assert condition(plan, "Restorable").reason == "NotTested"

    failed = TriedRestore(NOW, "n2", Passed.FAILED, "no such file")
    seen = Verified(1, NOW, How.RESTORE, Result.UNRESTORABLE, NOW, "", "", None, restore=failed)
    first = plan_workload(view(policy=rules, checkpoints=(checkpoint(4, verified=seen),)), NOW)
    assert told(first) == ["TestRestoreFailed"]
    before = tuple(merge_conditions([], [condition(first, "Restorable")], NOW, 1))
    assert (
        told(plan_workload(view(policy=rules, checkpoints=(checkpoint(4, verified=seen),), conditions=before), NOW))
        == []
    )
    assert condition(first, "Protected").status == "True", "its bytes are right"


def test_a_version_is_read_back_when_it_is_due_and_the_workload_remembers_when() -> None:
    due = view(checkpoints=(checkpoint(4, age_s=90_000),), scrub_interval=timedelta(days=1))
    plan = plan_workload(due, NOW)
    (step,) = plan.actions
    assert isinstance(step, VerifyCheckpoint)
    assert step.order["node"] == "n1"
    assert plan.status is not None
    assert plan.status.fields["scrubbedAt"] == stamp()
    assert plan_workload(replace(due, scrub_interval=timedelta()), NOW).actions == ()


def test_the_reason_of_a_failure_is_in_the_condition() -> None:
    plan = plan_workload(view({"newestVersion": None}, failure="CRIU said no"), NOW)
    assert condition(plan, "Protected").message == "no version was taken yet: CRIU said no"


def test_it_is_looked_at_again_when_the_version_will_be_too_old() -> None:
    assert plan_workload(view(), NOW).wake_at == ago(3) + timedelta(seconds=LIMIT_S)


def test_a_new_version_changes_nothing_that_has_to_be_written() -> None:
    first = plan_workload(view({"newestVersion": newest(5, 3)}), NOW)
    second = plan_workload(view({"newestVersion": newest(6, 1)}), NOW)
    assert first.status == second.status


def cold(reason: str = "NoVersion") -> dict[str, Any]:
    return {"lastStart": {"how": "Fresh", "reason": reason, "taskID": "t1", "at": stamp(50)}}


def test_a_cold_start_beside_a_good_version_is_drift() -> None:
    plan = plan_workload(view(cold(), checkpoints=(checkpoint(4, age_s=60), checkpoint(5, age_s=10))), NOW)
    drift = condition(plan, "Drift")
    assert (drift.status, drift.reason) == ("True", "ColdStart")
    assert "version 4" in drift.message
    assert told(plan) == ["Drift"]


def test_drift_is_told_once() -> None:
    before = tuple(merge_conditions([], [Condition("Drift", "True", "ColdStart", "")], NOW, 1))  # type: ignore[arg-type]
    plan = plan_workload(view(cold(), checkpoints=(checkpoint(4, age_s=60),), conditions=before), NOW)
    assert told(plan) == []


@pytest.mark.parametrize(
    ("status", "checkpoints"),
    [
        (cold("SpecChanged"), (checkpoint(4, age_s=60),)),
        (cold("NewService"), (checkpoint(4, age_s=60),)),
        (cold("Completed"), (checkpoint(4, age_s=60),)),
        (cold(), (checkpoint(4, age_s=40),)),
        (cold(), (checkpoint(4, age_s=60, spec_hash="other"),)),
        (cold(), (checkpoint(4, CheckpointPhase.FAILED, age_s=60),)),
        ({"lastStart": {"how": "Restored", "at": stamp(50)}}, (checkpoint(4, age_s=60),)),
    ],
)
def test_other_starts_are_no_drift(status: dict[str, Any], checkpoints: tuple[Checkpoint, ...]) -> None:
    assert condition(plan_workload(view(status, checkpoints=checkpoints), NOW), "Drift").status == "False"


@pytest.mark.parametrize("reason", ["NoRestorableVersion", "NewService"])
def test_the_version_that_a_fresh_start_left_behind_is_not_pruned(reason: str) -> None:
    versions = tuple(checkpoint(number, age_s=100 - number * 10) for number in range(1, 10))
    plan = plan_workload(view(cold(reason), checkpoints=versions), NOW)
    gone = [action.ref.name for action in plan.actions if isinstance(action, AssignCheckpoint)]
    assert "redis.1-v4" not in gone
    assert "redis.1-v3" in gone
    assert "redis.1-v5" in gone


@pytest.mark.parametrize(
    ("claim", "task_node", "age_s", "reason"),
    [("n2", "n1", 31, "Misplaced"), ("", "n1", 31, "Unclaimed"), ("n2", "n1", 29, ""), ("n1", "n1", 31, "")],
)
def test_a_task_that_runs_where_nobody_has_the_claim(claim: str, task_node: str, age_s: float, reason: str) -> None:
    status = {"claim": claim}
    plan = plan_workload(view(status, task=task(age_s=age_s), task_node=task_node), NOW)
    drift = condition(plan, "Drift")
    assert drift.reason == (reason or "AsPromised")
    if age_s < 30:
        assert plan.wake_at == NOW + timedelta(seconds=1)


def test_an_overdue_version_is_drift_only_while_it_runs_long_enough() -> None:
    old = {"newestVersion": newest(age_s=LIMIT_S)}
    assert condition(plan_workload(view(old), NOW), "Drift").reason == "VersionOverdue"
    young = plan_workload(view(old, started_at=ago(5)), NOW)
    assert condition(young, "Drift").status == "False"
    held = plan_workload(view({**old, "phase": "Held"}), NOW)
    assert condition(held, "Drift").status == "False"


@pytest.mark.parametrize(
    ("status", "fields", "phase"),
    [
        ({}, {}, None),
        ({}, {"has_phase": False}, "Pending"),
        ({}, {"node_lost": True}, "Lost"),
        ({"phase": "Fenced"}, {"node_lost": True}, "Lost"),
        ({"phase": "Lost"}, {"node_lost": True}, None),
        ({"phase": "Stopped"}, {"node_lost": True}, None),
        ({"phase": "Lost"}, {}, "Running"),
        ({"phase": "Lost"}, {"task_node": "n2"}, None),
        ({"phase": "Lost", "claim": ""}, {"place": Place.NOT_WANTED}, "Stopped"),
        ({}, {"place": Place.SERVICE_GONE}, None),
        ({}, {"place": Place.SERVICE_GONE, "node_lost": True}, "Stopped"),
        ({"phase": "Stopped", "claim": ""}, {"place": Place.SERVICE_GONE}, None),
    ],
)
def test_the_phase_is_the_agents_but_where_no_agent_can_write_it(
    status: dict[str, Any], fields: dict[str, Any], phase: str | None
) -> None:
    plan = plan_workload(view(status, **fields), NOW)
    assert plan.status is not None
    assert plan.status.fields.get("phase") == phase
    assert plan.status.guarded is (phase is not None)


def test_a_lost_node_is_told() -> None:
    assert told(plan_workload(view(node_lost=True), NOW)) == ["NodeLost"]


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ({"phase": "Restoring"}, {}),
        ({"phase": "Lost"}, {"node_lost": True}),
        ({"failedRestores": {"3": 1}}, {}),
        ({}, {"policy": None}),
        ({}, {"workers": ()}),
    ],
)
def test_nothing_is_pruned_while_a_version_may_be_needed(status: dict[str, Any], fields: dict[str, Any]) -> None:
    versions = tuple(checkpoint(number) for number in range(1, 10))
    plan = plan_workload(view(status, checkpoints=versions, **fields), NOW)
    assert not [action for action in plan.actions if isinstance(action, AssignCheckpoint)]


def test_many_prunes_come_in_portions() -> None:
    versions = tuple(checkpoint(number) for number in range(1, 50))
    plan = plan_workload(view(checkpoints=versions), NOW)
    assert len([action for action in plan.actions if isinstance(action, AssignCheckpoint)]) == 20
    assert plan.wake_at == NOW


def test_it_is_looked_at_again_when_a_version_will_have_reached_its_limit() -> None:
    rules = policy(schedule={"every": "1h"}, retention={"keepLast": 5, "maxAge": "100s"})
    versions = tuple(checkpoint(number, age_s=100 - number * 10) for number in range(1, 5))
    plan = plan_workload(view(policy=rules, checkpoints=versions), NOW)
    assert plan.wake_at == NOW + timedelta(seconds=10)
    then = plan_workload(view(policy=rules, checkpoints=versions), plan.wake_at)
    assert [action.ref.name for action in then.actions if isinstance(action, AssignCheckpoint)] == ["redis.1-v1"]
    assert [action.message for action in then.actions if isinstance(action, Tell)] == [
        "lets go of versions that its policy's retention (keepLast 5, maxAge 1m40s) does not keep"
    ]


def test_what_the_swarm_says_is_passed_on() -> None:
    plan = plan_workload(
        view(task=replace(task(), message="no suitable node"), constraints=("node.role==worker",)), NOW
    )
    assert plan.status is not None
    assert plan.status.fields["swarm"] == {
        "taskID": "t1",
        "node": "n1",
        "state": "running",
        "desiredState": "running",
        "message": "no suitable node",
        "constraints": ["node.role==worker"],
    }


def test_an_unknown_swarm_changes_nothing_about_it() -> None:
    plan = plan_workload(view(place=Place.UNKNOWN, task=None), NOW)
    assert plan.status is not None
    assert "swarm" not in plan.status.fields

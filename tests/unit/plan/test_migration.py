"""The steps of a move, decided one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.checkpoint import CheckpointPhase, Reason
from swarmkeep.model.migration import (
    FINALIZER,
    Migration,
    MigrationPhase,
    Placement,
    Round,
    StopOrder,
    parse_migration,
)
from swarmkeep.model.workload import Workload, parse_workload
from swarmkeep.plan.actions import Constrain, Plan, Release, SendContainer, SetFinalizers, Tell, WishCheckpoint
from swarmkeep.plan.findings import problem
from swarmkeep.plan.migration import RECORD_LIMIT, plan_migration
from swarmkeep.plan.migration_undo import END_AGAIN, RETURN_LIMIT, STOP_SETTLE
from swarmkeep.plan.migration_view import MOVE_LIMIT, SETTLE, MigrationView
from swarmkeep.plan.pre_copy import MAX_ROUNDS, ROUND_LIMIT, ROUNDS_LIMIT, SMALL_BYTES, another_round

from ..objects import NOW, ago, checkpoint, service, stamp, task, workload, workload_object
from .test_moving import scene, side

PHASES = {
    MigrationPhase.NEW: (),
    MigrationPhase.PENDING: (MigrationPhase.PENDING,),
    MigrationPhase.PRE_COPYING: (MigrationPhase.PENDING, MigrationPhase.PRE_COPYING),
    MigrationPhase.MOVING: (MigrationPhase.PENDING, MigrationPhase.MOVING),
    MigrationPhase.RESTORING: (MigrationPhase.PENDING, MigrationPhase.MOVING, MigrationPhase.RESTORING),
    MigrationPhase.DONE: (MigrationPhase.DONE,),
    MigrationPhase.FAILED: (MigrationPhase.FAILED,),
}
NOTED = Placement("svc1", ("node.id==id3",), 7)
TOLD = service(version=8, constraints=("node.id==id3",))
ARRIVED = {
    "workload": workload(
        claim="n3",
        claim_epoch=2,
        lastStart={"how": "Restored", "reason": "Reschedule", "taskID": "t9", "version": 5, "at": stamp(2)},
    ),
    "tasks": (task(1, id="t9", node_id="id3"), task(1, id="t1", desired="shutdown", state="shutdown")),
}
FINAL = checkpoint(5, reason=Reason.FINAL, age_s=4, stored_bytes=500)


def wish(phase: MigrationPhase = MigrationPhase.NEW, *, since_s: float = 10, **status: Any) -> dict[str, Any]:
    entered = [{"phase": str(one), "at": stamp(since_s)} for one in PHASES[phase]]
    return {
        "metadata": {"namespace": "default", "name": "move", "uid": "0123456789", "creationTimestamp": stamp(60)},
        "spec": {"workload": "redis.1", "to": {"node": "n3"}, **status.pop("spec", {})},
        "status": {"phase": str(phase), "from": "n1", "epoch": 1, "phases": entered, **status} if phase else {},
    }


def migration(phase: MigrationPhase = MigrationPhase.NEW, **status: Any) -> Migration:
    return parse_migration(wish(phase, **status))


def decide(item: Migration, now: datetime = NOW, **fields: Any) -> Plan:
    known: dict[str, Any] = {
        "scene": scene(**fields.pop("on", {})),
        "swarm_known": True,
        "rivals": (),
        "hindrance": "",
        "checkpoints": (),
        "clock_offsets": {},
        "runs_at_source": True,
    }
    return plan_migration(MigrationView(item, **{**known, **fields}), now)


def says(plan: Plan) -> dict[str, Any]:
    assert plan.status is not None
    return dict(plan.status.fields)


def placed(phase: MigrationPhase, **fields: Any) -> Migration:
    return replace(migration(phase, **fields), placement=NOTED, finalizers=(FINALIZER,))


def test_it_is_admitted_with_where_it_ran() -> None:
    found = says(decide(migration()))
    assert (found["phase"], found["from"], found["epoch"]) == ("Pending", "n1", 1)


@pytest.mark.parametrize("phase", [MigrationPhase.NEW, MigrationPhase.PENDING, MigrationPhase.PRE_COPYING])
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"on": {"target": side(3, ready=False)}}, "n3 is not ready"),
        ({"hindrance": "restore back of it is under way"}, "restore back"),
        ({"rivals": (replace(migration(), created_at=ago(90), ref=migration().ref),)}, "migration move of it"),
    ],
)
def test_as_long_as_nothing_was_stopped_it_is_refused(phase: MigrationPhase, fields: Any, said: str) -> None:
    plan = decide(migration(phase), **fields)
    assert says(plan)["phase"] == "Failed"
    assert says(plan)["message"].startswith("nothing was stopped, it runs on n1 as before: ")
    assert said in says(plan)["message"]
    assert [type(action) for action in plan.actions] == [Tell]


def test_a_younger_rival_waits_for_nobody_but_one_whose_word_the_swarm_has() -> None:
    younger = replace(migration(), created_at=ago(30))
    assert says(decide(migration(), rivals=(younger,)))["phase"] == "Pending"
    told = replace(younger, phase=MigrationPhase.MOVING, placement=NOTED)
    assert says(decide(migration(), rivals=(told,)))["phase"] == "Failed"


def test_nothing_is_decided_while_the_swarm_cannot_be_asked() -> None:
    for phase in (MigrationPhase.NEW, MigrationPhase.PENDING, MigrationPhase.MOVING, MigrationPhase.RESTORING):
        plan = decide(placed(phase), swarm_known=False)
        assert (plan.actions, says(plan)) == ((), {"message": "the Swarm cannot be asked now"})
        assert plan.wake_at is not None


def test_what_the_swarm_will_be_told_is_noted_with_a_finalizer_before_it_is_told() -> None:
    plan = decide(migration(MigrationPhase.PENDING))
    assert [type(action) for action in plan.actions] == [SetFinalizers, Tell]
    assert says(plan)["phase"] == "Moving"
    assert says(plan)["placement"] == {**NOTED.wire(), "returnedAt": None}
    assert plan.status is not None
    assert plan.status.guarded
    told = decide(placed(MigrationPhase.MOVING), on={"service": service(version=7)})
    assert told.actions == (Constrain("svc1", ("node.id==id3",), 7),)
    assert decide(placed(MigrationPhase.MOVING), on={"service": TOLD}).actions == ()


def test_it_has_left_by_itself_before_it_was_told_to() -> None:
    plan = decide(migration(MigrationPhase.PENDING), on={"workload": workload(claim="n1", claim_epoch=3)})
    assert "it has left n1 by itself" in says(plan)["message"]


@pytest.mark.parametrize("claim", [{"claim": ""}, {"claim": "n3", "claim_epoch": 2}])
def test_when_the_old_task_has_ended_the_new_one_comes_up(claim: Any) -> None:
    plan = decide(placed(MigrationPhase.MOVING), on={"workload": workload(**claim), "service": TOLD})
    assert says(plan)["phase"] == "Restoring"


def test_when_it_runs_the_swarm_is_told_that_all_is_as_before_and_then_it_is_done() -> None:
    here = {**ARRIVED, "service": TOLD}
    plan = decide(placed(MigrationPhase.RESTORING), on=here)
    assert plan.actions == (Release("svc1", ("node.id==id3",), 7),)
    assert says(plan)["placement"]["returnedAt"] == stamp()
    returned = replace(placed(MigrationPhase.RESTORING), placement=replace(NOTED, returned_at=ago(1)))
    done = decide(returned, on=here, checkpoints=(FINAL,), clock_offsets={"n1": -1.0, "n3": 0.5})
    found = says(done)
    assert (found["phase"], found["runsOn"], found["bytes"], found["version"]) == ("Done", "n3", 500, 5)
    assert found["downtimeSeconds"] == 0.5, "2 s by clocks of which one is 1.5 s ahead of the other"
    ended = replace(returned, phase=MigrationPhase.DONE)
    assert decide(ended, on=here).actions == (SetFinalizers(ended.ref, "", ()),)
    assert decide(replace(ended, finalizers=()), on=here) == Plan("")


def test_the_record_of_a_version_may_come_later_than_the_start_from_it() -> None:
    returned = replace(placed(MigrationPhase.RESTORING), placement=replace(NOTED, returned_at=ago(1)))
    assert decide(returned, on=ARRIVED).status is None
    later = decide(returned, NOW + RECORD_LIMIT, on=ARRIVED)
    assert "no final version could be taken" in says(later)["message"]
    ended = workload(
        claim="n3",
        claim_epoch=2,
        lastStart={"how": "Restored", "taskID": "t9", "version": 5, "at": stamp(2)},
        lastEnd={"how": "Stopped", "finalVersion": 5},
    )
    assert says(decide(returned, NOW + RECORD_LIMIT, on={**ARRIVED, "workload": ended}))["phase"] == "Done"


@pytest.mark.parametrize(
    ("start", "checkpoints", "said"),
    [
        (
            {"how": "Fresh", "reason": "NoRestorableVersion"},
            (),
            "it started fresh (NoRestorableVersion); it runs on n3",
        ),
        ({"how": "Restored", "version": 4}, (checkpoint(4),), "it went on from version 4, and what came after"),
    ],
)
def test_a_move_that_lost_state_has_failed(start: Any, checkpoints: Any, said: str) -> None:
    came = workload(claim="n3", claim_epoch=2, lastStart={**start, "taskID": "t9", "at": stamp(2)})
    returned = replace(placed(MigrationPhase.RESTORING), placement=replace(NOTED, returned_at=ago(1)))
    found = says(decide(returned, on={**ARRIVED, "workload": came}, checkpoints=checkpoints))
    assert found["phase"] == "Failed"
    assert said in found["message"]


@pytest.mark.parametrize("phase", [MigrationPhase.MOVING, MigrationPhase.RESTORING])
@pytest.mark.parametrize(
    ("on", "now", "said"),
    [
        ({"target": side(3, lost=True)}, NOW, "n3 was lost"),
        ({"target": side(3, ready=False)}, NOW, "n3 was lost"),
        ({"target": side(3, swarm=None)}, NOW, "n3 was lost"),
        ({"target": side(3, swarm=replace(side(3).swarm, availability="drain"))}, NOW, "n3 is being drained"),  # type: ignore[type-var]
        ({"service": None}, NOW, "the service was removed"),
        ({"workload": None}, NOW, "the workload redis.1 was deleted"),
        ({"tasks": (), "service": replace(TOLD, replicas=0)}, NOW, "the service was scaled down"),
        ({}, NOW + MOVE_LIMIT, "within 5 minutes: the Swarm says assigned"),
    ],
)
def test_what_happens_on_the_way_is_noted_and_the_swarm_set_free(
    phase: MigrationPhase, on: Any, now: datetime, said: str
) -> None:
    coming = (task(1, id="t9", node_id="id3", state="assigned"),)
    plan = decide(placed(phase), now, on={"service": TOLD, "tasks": coming, **on})
    assert said in says(plan)["failure"]
    failed = replace(placed(phase), failure=said)
    assert isinstance(decide(failed, now, on={"tasks": coming, **on}).actions[0], Release)


def test_after_a_failure_it_is_waited_for_until_it_runs_somewhere() -> None:
    back = replace(
        placed(MigrationPhase.RESTORING), failure="n3 was lost", placement=replace(NOTED, returned_at=ago(20))
    )
    coming = {"tasks": (task(1, id="t9", node_id="id2", state="starting"),)}
    assert decide(back, on=coming).status is None
    late = decide(back, NOW + RETURN_LIMIT, on=coming)
    assert says(late)["message"].startswith("n3 was lost; it runs nowhere now")
    start = {"how": "Restored", "taskID": "t9", "version": 5, "at": stamp(2)}
    there = {
        "tasks": (task(1, id="t9", node_id="id2"),),
        "workload": workload(claim="n2", claim_epoch=3, lastStart=start),
    }
    found = says(decide(back, on=there, checkpoints=(FINAL,)))
    assert (found["phase"], found["runsOn"], found["message"]) == ("Failed", "n2", "n3 was lost; it runs on n2")


def test_it_is_not_believed_to_run_on_as_before_a_moment_after_the_swarm_was_told_to_move_it() -> None:
    def after(passed: timedelta) -> Plan:
        back = replace(placed(MigrationPhase.MOVING), failure="no", placement=replace(NOTED, returned_at=NOW - passed))
        return decide(back)

    assert after(SETTLE - timedelta(seconds=1)).status is None
    assert says(after(SETTLE))["message"] == "no; it runs on n1"


def test_what_the_swarm_had_been_told_is_noted_anew_when_the_service_was_changed() -> None:
    changed = decide(placed(MigrationPhase.MOVING), on={"service": service(version=9)})
    assert says(changed)["placement"]["serviceVersion"] == 9
    assert changed.actions == ()
    gone = decide(placed(MigrationPhase.MOVING), on={"service": service(version=9, update_state="rollback_started")})
    assert "the service was changed meanwhile" in says(gone)["failure"]


@pytest.mark.parametrize("phase", [one for one in MigrationPhase if one is not MigrationPhase.NEW])
def test_a_deleted_one_takes_its_word_back_first(phase: MigrationPhase) -> None:
    gone = replace(placed(phase), deleting=True, finalizers=(FINALIZER, "other"))
    plan = decide(gone)
    assert plan.actions == (Release("svc1", ("node.id==id3",), 7),)
    back = replace(gone, placement=replace(NOTED, returned_at=NOW))
    assert decide(back).actions == (SetFinalizers(gone.ref, "", ("other",)),)
    assert decide(replace(back, finalizers=("other",))) == Plan("")


# Rounds


def rounds(*written: int, since_s: float = 30) -> tuple[Round, ...]:
    return tuple(
        Round(number, f"r{number}", ago(since_s), number + 10, size, ago(1)) for number, size in enumerate(written, 1)
    )


@pytest.mark.parametrize(
    ("written", "more"),
    [
        ((5,), True),
        ((90_000_000,), True),
        ((90_000_000, SMALL_BYTES), False),
        ((90_000_000, 50_000_000), True),
        ((90_000_000, 80_000_000), False),
        ((90_000_000, 95_000_000), False),
        ((900_000_000, 500_000_000, 300_000_000, 150_000_000, 80_000_000), True),
        ((900_000_000, 500_000_000, 300_000_000, 150_000_000, 80_000_000, 40_000_000), False),
    ],
)
def test_rounds_go_on_while_they_get_smaller(written: tuple[int, ...], more: bool) -> None:
    assert another_round(rounds(*written), NOW) is more


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=20))
def test_rounds_come_to_an_end(written: list[int]) -> None:
    done = next((count for count in range(1, 21) if not another_round(rounds(*written[:count]), NOW)), len(written))
    assert done <= MAX_ROUNDS
    assert not another_round(rounds(*written, since_s=ROUNDS_LIMIT.total_seconds()), NOW)


def pre_copying(*done: Round) -> Migration:
    return replace(migration(MigrationPhase.PRE_COPYING, spec={"mode": "PreCopy"}), rounds=done)


def test_a_round_asks_for_a_version_waits_until_it_is_stored_and_then_until_the_target_has_it() -> None:
    begun = decide(pre_copying())
    (asked,) = begun.actions
    assert isinstance(asked, WishCheckpoint)
    assert asked.ref.name == "move-01234567-r1"
    assert says(begun)["rounds"] == [{"number": 1, "checkpoint": asked.ref.name, "startedAt": stamp()}]
    first = Round(1, asked.ref.name, ago(5))
    taking = checkpoint(None, CheckpointPhase.DUMPING, name=asked.ref.name)
    assert decide(pre_copying(first), checkpoints=(taking,)).status is None
    taken = checkpoint(12, name=asked.ref.name, stored_bytes=77)
    stored = says(decide(pre_copying(first), checkpoints=(taken,)))["rounds"][0]
    assert (stored["version"], stored["bytes"], "readyAt" in stored) == (12, 77, False)
    known = replace(first, version=12, bytes=77)
    behind = {"target": side(3, standby_version=11)}
    assert decide(pre_copying(known), on=behind).status is None, "though the version may have been pruned by now"
    there = says(decide(pre_copying(known), on={"target": side(3, standby_version=13)}))["rounds"][0]
    assert there["readyAt"] == stamp()


def test_the_last_round_is_followed_by_the_stop() -> None:
    assert says(decide(pre_copying(*rounds(50_000_000, 10_000))))["phase"] == "Moving"
    assert isinstance(decide(pre_copying(*rounds(50_000_000))).actions[0], WishCheckpoint)


@pytest.mark.parametrize(
    ("found", "version", "message", "said"),
    [
        ((), None, "", "its version was deleted"),
        ((checkpoint(None, CheckpointPhase.FAILED, name="r1"),), None, "", "no version could be taken"),
        ((checkpoint(None, CheckpointPhase.DUMPING, name="r1"),), None, "", "was not stored within 15 minutes"),
        ((), 3, "the disk is full", "was not on n3 within 15 minutes: the disk is full"),
    ],
)
def test_a_round_that_does_not_end_ends_the_move_before_anything_stops(
    found: Any, version: int | None, message: str, said: str
) -> None:
    begun = Round(1, "r1", NOW - ROUND_LIMIT if "within" in said else ago(5), version)
    plan = decide(pre_copying(begun), checkpoints=found, on={"target": side(3, standby_message=message)})
    assert says(plan)["phase"] == "Failed"
    assert said in says(plan)["message"]


# Plain containers


def container(claim: str = "n1", epoch: int = 1, **status: Any) -> Workload:
    obj = workload_object("web", claim=claim, claim_epoch=epoch, container={"id": "c1"}, **status)
    obj["spec"] = {"policy": "redis", "type": "Container", "container": {"name": "web"}}
    return parse_workload(obj)


ORDER = StopOrder("n1", "c1", 1)
STOPPED: dict[str, Any] = {"phase": "Stopped", "lastEnd": {"how": "Stopped", "at": stamp(3), "finalVersion": 5}}
UP: dict[str, Any] = {"lastStart": {"how": "Restored", "reason": "Reschedule", "version": 5, "at": stamp(2)}}


def ordered(phase: MigrationPhase, **fields: Any) -> Migration:
    return replace(migration(phase), stop=ORDER, finalizers=(FINALIZER,), **fields)


def on_container(item: Migration, now: datetime = NOW, found: Workload | None = None, **fields: Any) -> Plan:
    plain: dict[str, Any] = {"workload": found or container(), "service": None, "tasks": (), **fields.pop("on", {})}
    return decide(item, now, on=plain, swarm_known=False, **fields)


def test_a_plain_container_is_ordered_to_stop_by_a_note_for_its_agent() -> None:
    plan = on_container(migration(MigrationPhase.PENDING))
    assert [type(action) for action in plan.actions] == [SetFinalizers, Tell]
    assert says(plan)["stop"] == {**ORDER.wire(), "withdrawnAt": None, "settledAt": None}
    assert on_container(ordered(MigrationPhase.MOVING)).actions == ()


def test_what_keeps_the_target_from_running_a_container_refuses_the_move() -> None:
    unfit = (problem("PortTaken", "the node's port 80 is taken"),)
    plan = on_container(migration(), on={"unfit": unfit})
    assert "n3: the node's port 80 is taken" in says(plan)["message"]
    older = side(3, facts=replace(side(3).facts, versions={**side(3).facts.versions, "kernel": "6.1"}))
    assert "its kernel 6.1 is older" in says(on_container(migration(), on={"target": older}))["message"]
    none_yet = (problem("NoVersion", "there is no good version of it"),)
    assert says(on_container(migration(), on={"unfit": none_yet}))["phase"] == "Pending"


def test_when_it_has_ended_the_target_goes_on_with_it() -> None:
    plan = on_container(ordered(MigrationPhase.MOVING), found=container("", **STOPPED))
    sent = plan.actions[0]
    assert isinstance(sent, SendContainer)
    assert (sent.placement["node"], sent.placement["epoch"], sent.placement["reason"]) == ("n3", 1, "Migration")
    assert says(plan)["phase"] == "Restoring"


def test_when_it_runs_there_the_order_is_settled_and_then_it_is_done() -> None:
    there = container("n3", 2, **UP)
    first = on_container(ordered(MigrationPhase.RESTORING), found=there)
    assert says(first)["stop"] == {**ORDER.wire(), "withdrawnAt": stamp(), "settledAt": stamp()}
    settled = replace(ordered(MigrationPhase.RESTORING), stop=replace(ORDER, withdrawn_at=NOW, settled_at=NOW))
    found = says(on_container(settled, found=there, checkpoints=(FINAL,)))
    assert (found["phase"], found["runsOn"], found["downtimeSeconds"]) == ("Done", "n3", 2.0)


@pytest.mark.parametrize(
    ("found", "on", "said"),
    [
        (container("", phase="Stopped", lastEnd={"how": "Exited", "at": stamp(1)}), {}, "ended by itself on n1"),
        (container(), {"target": side(3, lost=True)}, "n3 was lost"),
        (container(), {"source": side(1, lost=True)}, "n1 was lost"),
    ],
)
def test_what_goes_wrong_with_a_container_withdraws_the_order(found: Workload, on: Any, said: str) -> None:
    assert said in says(on_container(ordered(MigrationPhase.MOVING), found=found, on=on))["failure"]
    failed = ordered(MigrationPhase.MOVING, failure=said)
    assert says(on_container(failed, found=found, on=on))["stop"]["withdrawnAt"] == stamp()


def withdrawn(ago_s: float = 1, **fields: Any) -> Migration:
    order = replace(ORDER, withdrawn_at=ago(ago_s))
    return replace(ordered(MigrationPhase.MOVING, **{"failure": "n3 was lost", **fields}), stop=order)


@pytest.mark.parametrize("fields", [{}, {"failure": "", "deleting": True}])
def test_a_container_that_had_stopped_already_is_taken_up_where_it_was(fields: Any) -> None:
    plan = on_container(withdrawn(**fields), found=container("", **STOPPED))
    (sent,) = plan.actions
    assert isinstance(sent, SendContainer)
    assert sent.placement["node"] == "n1"
    waiting = container("", **STOPPED, placement={"node": "n1", "epoch": 1})
    assert on_container(withdrawn(**fields), found=waiting).actions == ()
    up = on_container(withdrawn(**fields), found=container("n1", 2, **UP))
    assert says(up)["stop"]["settledAt"] == stamp()


def test_one_that_the_user_let_end_is_not_taken_up() -> None:
    over = container("", phase="Stopped", lastEnd={"how": "Exited", "at": stamp(1)})
    plan = on_container(withdrawn(), found=over)
    assert plan.actions == ()
    assert says(plan)["stop"]["settledAt"] == stamp()


def test_one_that_may_be_about_to_stop_is_waited_for() -> None:
    assert on_container(withdrawn()).status is None
    assert says(on_container(withdrawn(STOP_SETTLE.total_seconds())))["stop"]["settledAt"] == stamp()


@pytest.mark.parametrize("waited", [STOP_SETTLE, RETURN_LIMIT, 10 * RETURN_LIMIT])
def test_one_that_ends_late_is_taken_up_however_long_its_final_version_took(waited: timedelta) -> None:
    item = withdrawn(waited.total_seconds())
    ending = on_container(item, runs_at_source=False)
    assert (ending.actions, ending.wake_at) == ((), NOW + END_AGAIN)
    assert says(ending).keys() == {"message"}
    assert "n3 was lost; n1 is ending default/redis.1" in says(ending)["message"]
    (sent,) = on_container(item, found=container("", **STOPPED)).actions
    assert isinstance(sent, SendContainer)
    assert sent.placement["node"] == "n1"


@pytest.mark.parametrize("on", [{"source": side(1, lost=True)}, {"source": None}, {"policy": None}])
def test_one_of_which_nothing_may_ever_be_heard_is_waited_for_with_a_limit(on: Any) -> None:
    before = on_container(withdrawn(RETURN_LIMIT.total_seconds() - 1), runs_at_source=False, on=on)
    assert (before.status, before.actions) == (None, ())
    after = on_container(withdrawn(RETURN_LIMIT.total_seconds()), runs_at_source=False, on=on)
    assert says(after)["stop"]["settledAt"] == stamp()


def test_one_that_was_sent_back_in_vain_is_not_sent_for_ever() -> None:
    tried = container("", 2, **STOPPED, placement={"node": "n1", "epoch": 1})
    (sent,) = on_container(withdrawn(RETURN_LIMIT.total_seconds() - 1), found=tried).actions
    assert isinstance(sent, SendContainer)
    assert sent.placement["epoch"] == 2
    over = on_container(withdrawn(RETURN_LIMIT.total_seconds()), found=tried)
    assert says(over)["stop"]["settledAt"] == stamp()

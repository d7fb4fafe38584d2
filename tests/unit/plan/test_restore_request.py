"""What becomes of a Restore, step by step, and that nothing is stopped for one that cannot be carried out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.checkpoint import CheckpointPhase, Result, Verified
from swarmkeep.model.restore import LONGEST, parse_restore
from swarmkeep.plan.actions import GiveOrder, Plan
from swarmkeep.plan.restore_request import START_LIMIT, RestoreView, plan_restore
from swarmkeep.plan.workload_status import Place

from ..objects import NOW, ago, checkpoint, stamp, workload

ID = "uid-back"
VERSIONS = tuple(checkpoint(number, age_s=100 - 10 * number) for number in range(1, 6))
ORDER = {"uid": ID, "restore": "back", "version": 2, "when": "Now", "keepCurrent": True}
STOPPING = {"phase": "Stopping", "version": 2, "startedAt": stamp(20), "epoch": 1}
STARTED = {"how": "Restored", "version": 2, "node": "n2", "taskID": "t2", "seconds": 0.4, "at": stamp(1), "order": ID}


def view(
    spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, *, more: Any = None, **of_workload: Any
) -> RestoreView:
    request = parse_restore(
        {
            "metadata": {"namespace": "default", "name": "back", "uid": ID},
            "spec": {"workload": "redis.1", **(spec or {})},
            "status": status or {},
        }
    )
    known = RestoreView(
        request=request,
        workload=workload(**of_workload),
        protected=True,
        place=Place.WANTED,
        restarts=True,
        task_id="t1",
        task_message="",
        rival="",
        checkpoints=VERSIONS,
    )
    return replace(known, **(more or {}))


def order_of(plan: Plan) -> GiveOrder | None:
    return next((action for action in plan.actions if isinstance(action, GiveOrder)), None)


def said(plan: Plan) -> dict[str, Any]:
    assert plan.status is not None
    return dict(plan.status.fields)


@pytest.mark.parametrize(
    ("spec", "line", "chosen"),
    [
        ({"version": 2}, [], 2),
        ({}, [], 5),
        ({}, [{"above": 3, "upTo": 5}], 3),
        ({"time": stamp(75)}, [], 2),
        ({"time": stamp(70)}, [{"above": 1, "upTo": 5}], 3),
        ({"fresh": True}, [], None),
    ],
    ids=["a version", "the newest", "the newest that leads to now", "a time", "a time of what was left", "nothing"],
)
def test_the_workload_gets_an_order_and_the_restore_says_which(
    spec: dict[str, Any], line: list[dict[str, int]], chosen: int | None
) -> None:
    plan = plan_restore(view(spec, leftBehind=line), NOW)
    given = order_of(plan)
    assert given is not None
    assert given.order is not None
    assert (given.resource_version, given.order.id, given.order.version) == ("7", ID, chosen)
    fields = said(plan)
    assert (fields["phase"], fields["version"], fields["epoch"], fields["taskBefore"]) == ("Stopping", chosen, 1, "t1")
    assert fields["startedAt"] == stamp()


DAMAGED = Verified(1, NOW, VERSIONS[0].wish_how, Result.DAMAGED, None, "", "", None)


@pytest.mark.parametrize(
    ("spec", "more", "of_workload", "why"),
    [
        ({"version": 9}, {}, {}, "there is no version 9; there are 1 to 5"),
        ({"version": 2, "fresh": True}, {}, {}, "exclude each other"),
        ({"time": stamp(1000)}, {}, {}, "no version was taken at"),
        ({"version": 1}, {"checkpoints": (checkpoint(1, verified=DAMAGED),)}, {}, "version 1 is damaged"),
        ({"version": 1}, {"checkpoints": (checkpoint(1, CheckpointPhase.DELETING),)}, {}, "it is Deleting"),
        ({"version": 1}, {}, {"specHash": "other"}, "another specification"),
        ({"version": 1}, {"workload": None}, {}, "there is no workload redis.1"),
        ({"version": 1}, {"rival": "Migration m"}, {}, "Migration m is under way"),
        ({"version": 1}, {"protected": False}, {}, "no policy protects"),
        ({"version": 1}, {"restarts": False}, {}, "restart-condition none"),
        ({"version": 1}, {"place": Place.NOT_WANTED}, {}, "Swarm wants no task"),
        ({"version": 1}, {"place": Place.SERVICE_GONE}, {}, "the service redis is gone"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_stopped(
    spec: dict[str, Any], more: dict[str, Any], of_workload: dict[str, Any], why: str
) -> None:
    plan = plan_restore(view(spec, more=more, **of_workload), NOW)
    assert order_of(plan) is None
    assert said(plan)["phase"] == "Failed"
    assert why in said(plan)["message"]


def test_for_the_next_start_neither_a_task_nor_a_restart_is_needed() -> None:
    more = {"place": Place.NOT_WANTED, "restarts": False, "task_id": ""}
    plan = plan_restore(view({"version": 2, "when": "NextStart"}, more=more, phase="Stopped", claim=""), NOW)
    given = order_of(plan)
    assert given is not None
    assert given.order is not None
    assert not given.order.ends_task
    assert said(plan)["phase"] == "Pending"
    waiting = view({"version": 2, "when": "NextStart"}, {**STOPPING, "phase": "Pending"}, order=ORDER)
    assert plan_restore(waiting, NOW + timedelta(days=9)).wake_at is None


def test_while_the_swarm_cannot_be_asked_nothing_is_decided() -> None:
    plan = plan_restore(view({"version": 2}, more={"place": Place.UNKNOWN}), NOW)
    assert (plan.actions, said(plan)["phase"], plan.wake_at) == ((), "Pending", NOW + timedelta(seconds=5))


def test_it_says_how_far_it_is() -> None:
    stopping = plan_restore(view({"version": 2}, STOPPING, order=ORDER), NOW)
    assert said(stopping)["phase"] == "Stopping"
    assert stopping.wake_at == ago(20) + timedelta(minutes=5)
    ended = {"how": "Stopped", "at": stamp(3), "finalVersion": 6}
    given_back = plan_restore(view({"version": 2}, STOPPING, order=ORDER, claim="", lastEnd=ended), NOW)
    assert (said(given_back)["phase"], said(given_back)["keptVersion"]) == ("Restoring", 6)
    obj = view({"version": 2}, STOPPING, order=ORDER, phase="Restoring")
    assert obj.workload is not None
    later = replace(obj, workload=replace(obj.workload, claim=replace(obj.workload.claim, node="n2", epoch=2)))
    assert "on n2" in said(plan_restore(later, NOW))["message"]
    assert plan_restore(later, NOW).wake_at == ago(20) + timedelta(minutes=5) + START_LIMIT


def test_an_old_final_version_is_not_taken_for_the_one_that_was_kept() -> None:
    ended = {"how": "Stopped", "at": stamp(300), "finalVersion": 4}
    assert "keptVersion" not in said(plan_restore(view({"version": 2}, STOPPING, order=ORDER, lastEnd=ended), NOW))


@pytest.mark.parametrize("where", ["lastStart", "starts"])
def test_it_is_done_when_a_start_says_so_however_much_has_happened_since(where: str) -> None:
    start = {**STARTED, "obeyed": True}
    status = {"lastStart": start} if where == "lastStart" else {"starts": [start, {"how": "Fresh", "at": stamp()}]}
    plan = plan_restore(view({"version": 2}, STOPPING, **status), NOW)
    fields = said(plan)
    assert (fields["phase"], fields["node"], fields["taskID"], fields["seconds"]) == ("Done", "n2", "t2", 0.4)
    assert plan.status is not None
    assert plan.status.conditions[0].reason == "RolledBack"


def test_a_start_that_could_not_obey_ends_it_as_failed() -> None:
    start = {**STARTED, "version": 6, "obeyed": False, "message": "version 2 failed 3 times to come up"}
    plan = plan_restore(view({"version": 2}, STOPPING, lastStart=start), NOW)
    assert said(plan)["phase"] == "Failed"
    assert said(plan)["message"] == "version 2 failed 3 times to come up; it goes on from version 6 on n2"


@pytest.mark.parametrize(
    ("of_workload", "why"),
    [
        ({}, "n1 has not given the task up within 300 s"),
        ({"claim": ""}, "no task has come up within 300 s; Swarm says: no suitable node"),
        ({"orderRefused": {"uid": ID, "message": "a socket"}}, "the task runs on"),
        ({"order": None}, "its order was lost"),
    ],
)
def test_what_nobody_carries_out_ends_with_its_reason(of_workload: dict[str, Any], why: str) -> None:
    status = {**STOPPING, "startedAt": stamp(300)}
    obj = view({"version": 2}, status, more={"task_message": "no suitable node"}, **{"order": ORDER, **of_workload})
    plan = plan_restore(obj, NOW)
    assert said(plan)["phase"] == "Failed"
    assert why in said(plan)["message"]


def test_a_timeout_without_an_end_is_no_obstacle() -> None:
    plan = plan_restore(view({"version": 2, "timeout": "9999999d"}, STOPPING, order=ORDER), NOW)
    assert plan.wake_at is not None
    assert plan.wake_at <= NOW + LONGEST


def test_when_it_is_over_its_order_is_taken_back_once() -> None:
    failed = {**STOPPING, "phase": "Failed"}
    plan = plan_restore(view({"version": 2}, failed, order=ORDER), NOW)
    given = order_of(plan)
    assert given is not None
    assert given.order is None
    assert plan_restore(view({"version": 2}, failed), NOW) == Plan("")
    another = plan_restore(view({"version": 2}, failed, order={**ORDER, "uid": "another"}), NOW)
    assert order_of(another) is None


def test_one_that_was_given_up_and_came_up_after_all_is_done() -> None:
    failed = {**STOPPING, "phase": "Failed"}
    plan = plan_restore(view({"version": 2}, failed, lastStart={**STARTED, "obeyed": True}), NOW)
    assert said(plan)["phase"] == "Done"


def test_an_operator_that_died_after_the_order_was_given_does_not_choose_again() -> None:
    plan = plan_restore(view({}, {}, order=ORDER), NOW)
    assert order_of(plan) is None
    assert (said(plan)["phase"], said(plan)["version"]) == ("Stopping", 2)


@given(
    st.sampled_from(["", "Pending", "Stopping", "Restoring", "Done", "Failed"]),
    st.booleans(),
    st.sampled_from([None, "ours", "another"]),
    st.sampled_from([None, True, False]),
    st.sampled_from(list(Place)),
    st.sampled_from(["", "n1"]),
    st.integers(0, 1000),
)
def test_whatever_is_found_it_ends_in_time_and_orders_only_what_it_has_chosen(
    phase: str, now: bool, order: str | None, obeyed: bool | None, place: Place, claim: str, passed_s: int
) -> None:
    started = phase not in ("", "Pending")
    status = {"phase": phase, **({"startedAt": stamp(passed_s), "epoch": 1, "version": 2} if started else {})}
    spec = {"version": 2, "when": "Now" if now else "NextStart"}
    found: dict[str, Any] = {"claim": claim}
    if order is not None:
        found["order"] = {**ORDER, "uid": ID if order == "ours" else "another"}
    if obeyed is not None:
        found["lastStart"] = {**STARTED, "obeyed": obeyed}
    more = {"place": place, "rival": "Restore x" if order == "another" else ""}
    plan = plan_restore(view(spec, {k: v for k, v in status.items() if v}, more=more, **found), NOW)
    over = phase in ("Done", "Failed")
    given = order_of(plan)
    if given is not None and given.order is not None:
        assert not over
        assert not started
        assert (order, obeyed, place) == (None, None, place)
        assert place not in (Place.UNKNOWN, Place.SERVICE_GONE)
    if over and order == "ours" and not (obeyed and phase == "Failed"):
        assert given is not None
        assert given.order is None
    if not over and plan.status is not None and said(plan)["phase"] not in ("Done", "Failed"):
        # Somebody looks again, unless it may wait for ever.
        assert plan.wake_at is not None or not now

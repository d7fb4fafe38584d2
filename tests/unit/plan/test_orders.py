"""Whether an order is still to be answered, whoever knows of the answer; and what the API is told with a start."""

from dataclasses import replace
from typing import Any

import pytest

from swarmkeep.model.line import Branch, Line
from swarmkeep.plan.orders import STARTS_KEPT, SeenStart, standing, with_start_noted
from swarmkeep.plan.start import Candidate

from ..objects import NOW, stamp, workload

ORDER = {"uid": "u1", "restore": "back", "version": 2, "when": "Now"}
LEFT = [{"above": 2, "upTo": 4}]
LINE = Line((Branch(2, 4),))


def candidate(number: int, **more: Any) -> Candidate:
    return replace(Candidate(number, NOW, "hash", "svc1"), **more)


def test_an_order_stands_until_a_start_has_answered_it() -> None:
    found = standing(workload(order=ORDER), None, [candidate(4)])
    assert found.order is not None
    assert (found.order.id, found.order.version, found.answered) == ("u1", 2, "")


@pytest.mark.parametrize(
    ("status", "seen", "order"),
    [
        ({"starts": [{"how": "Restored", "order": "u1", "at": stamp(50)}]}, None, ""),
        ({"lastStart": {"how": "Restored", "order": "u1", "at": stamp(50)}}, None, ""),
        ({}, SeenStart("u1", LINE), ""),
        ({}, None, "u1"),
    ],
    ids=["the API noted it", "the API has just heard of it", "this node did it", "a version tells it"],
)
def test_it_is_answered_once_whoever_knows_of_it(status: dict[str, Any], seen: SeenStart | None, order: str) -> None:
    found = standing(workload(order=ORDER, **status), seen, [candidate(5, order=order, line=LINE)])
    assert (found.order, found.answered, found.line) == (None, "u1", LINE)


def test_the_line_of_a_version_that_was_taken_before_the_last_rollback_does_not_count() -> None:
    found = standing(workload(leftBehind=LEFT), None, [candidate(4, line=Line((Branch(1, 2),)))])
    assert found.line == LINE


def test_a_damaged_version_tells_no_line() -> None:
    found = standing(workload(leftBehind=LEFT), None, [candidate(9, spec_hash="", usable=False)])
    assert found.line == LINE


def test_without_a_workload_the_versions_tell_the_line() -> None:
    assert standing(None, None, [candidate(5, line=LINE)]).line == LINE


def start(task: str, at: float, **more: Any) -> dict[str, Any]:
    return {"how": "Restored", "version": 1, "node": "n1", "taskID": task, "at": stamp(at), "order": None, **more}


def test_a_start_is_noted_once_and_takes_its_order_away() -> None:
    status = {"phase": "Running", "lastStart": start("t2", 5, order="u1", obeyed=True)}
    noted = [{"how": "Fresh", "taskID": "t1", "node": "n1", "at": stamp(50)}]
    full = with_start_noted(workload(order=ORDER), status, noted)
    assert [item["taskID"] for item in full["starts"]] == ["t1", "t2"]
    assert full["starts"][1]["obeyed"]
    assert full["order"] is None
    again = with_start_noted(workload(), status, full["starts"])
    assert again["starts"] == full["starts"]
    assert "order" not in again


def test_another_order_than_the_one_answered_stays() -> None:
    status = {"lastStart": start("t2", 5, order="earlier", obeyed=True)}
    assert "order" not in with_start_noted(workload(order=ORDER), status, [])


def test_the_same_container_without_a_task_may_start_more_than_once() -> None:
    full = with_start_noted(workload(), {"lastStart": start("", 5)}, [start("", 50)])
    assert len(full["starts"]) == 2


def test_only_the_last_starts_are_kept() -> None:
    noted = [start(f"t{number}", 100 - number) for number in range(STARTS_KEPT)]
    full = with_start_noted(workload(), {"lastStart": start("new", 1)}, noted)
    assert [item["taskID"] for item in full["starts"]] == [f"t{number}" for number in range(1, STARTS_KEPT)] + ["new"]


def test_a_status_without_a_start_says_nothing_of_starts() -> None:
    assert with_start_noted(workload(order=ORDER), {"phase": "Stopped"}, []) == {"phase": "Stopped"}

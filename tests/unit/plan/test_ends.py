"""The end before: the same answer however often a claim is taken."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.workload import Claim, End, parse_workload
from swarmkeep.plan.ends import SeenEnd, end_before, end_status

from ..objects import NOW, ago, stamp, workload, workload_object


def ended(how: str, seconds_ago: float = 50, **fields: Any) -> dict[str, Any]:
    return {"how": how, "at": stamp(seconds_ago), **fields}


def started(seconds_ago: float) -> dict[str, Any]:
    return {"how": "Fresh", "reason": "NoVersion", "at": stamp(seconds_ago)}


OWN = SeenEnd(1, end_status(End.CRASHED, ago(5), exit_code=3))


@pytest.mark.parametrize(
    ("claim", "status", "seen", "how", "is_news"),
    [
        ("n1", {"lastEnd": ended("Exited")}, None, End.NODE_LOSS, True),
        ("n1", {"lastEnd": ended("Exited")}, OWN, End.NODE_LOSS, True),
        ("", {"lastEnd": ended("Stopped")}, None, End.STOPPED, False),
        ("n2", {"lastEnd": ended("NodeLoss")}, None, End.NODE_LOSS, False),
        ("n2", {}, OWN, End.CRASHED, True),
        ("n2", {"lastEnd": ended("Exited")}, OWN, End.CRASHED, True),
        # Another node has had the claim since this one saw an end: the later end counts.
        ("", {"lastEnd": ended("Stopped")}, SeenEnd(0, OWN.status), End.STOPPED, False),
        ("", {}, None, None, False),
        # A task came up after that end, and nobody saw it end.
        ("n2", {"lastEnd": ended("Exited", 50), "lastStart": started(40)}, None, None, False),
        ("n2", {"lastEnd": ended("Exited", 50), "lastStart": started(60)}, None, End.EXITED, False),
        # The clock of the node that told the loss may be behind.
        ("n2", {"lastEnd": ended("NodeLoss", 50), "lastStart": started(40)}, None, End.NODE_LOSS, False),
    ],
)
def test_how_the_task_before_ended(
    claim: str, status: dict[str, Any], seen: SeenEnd | None, how: End | None, is_news: bool
) -> None:
    found = end_before(workload(claim=claim, **status), "n2", seen, NOW)
    assert (found.how, found.is_news) == (how, is_news)


@given(
    st.sampled_from(["", "n1", "n2"]),
    st.none() | st.builds(ended, st.sampled_from([str(end) for end in End]), st.integers(1, 100)),
    st.none() | st.builds(started, st.integers(1, 100)),
    st.none() | st.builds(SeenEnd, st.integers(0, 1), st.just(OWN.status)),
)
def test_taking_the_claim_again_finds_the_same_end(
    claim: str, last_end: dict[str, Any] | None, last_start: dict[str, Any] | None, seen: SeenEnd | None
) -> None:
    obj = workload_object(claim=claim)
    obj["status"] |= {key: value for key, value in (("lastEnd", last_end), ("lastStart", last_start)) if value}
    before = parse_workload(obj)
    first = end_before(before, "n2", seen, NOW)
    status = dict(obj["status"]) | {"claim": {"node": "n2", "epoch": before.claim.epoch + 1}}
    if first.is_news:
        status["lastEnd"] = {key: value for key, value in (first.status or {}).items() if value is not None}
        # The node is told of the end of a task that had started before.
        status.pop("lastStart", None)
    after = parse_workload(obj | {"status": status})
    assert after.claim == Claim("n2", before.claim.epoch + 1)
    for known in (seen, None):
        assert end_before(after, "n2", known, NOW + timedelta(seconds=9)).how == first.how

"""One life out of objects that last and events that do not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.cli.timeline import Moment, Timeline, What, make_timeline

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def stamp(ago_s: float) -> str:
    return (NOW - timedelta(seconds=ago_s)).isoformat().replace("+00:00", "Z")


def workload(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "redis.1", "namespace": "shop"}, "spec": {"policy": "redis"}, "status": status}


def version(number: int, ago_s: float, node: str = "n1", reason: str = "Schedule", **status: Any) -> dict[str, Any]:
    status = {"phase": "Stored", "version": number, "takenAt": stamp(ago_s), "node": node, **status}
    return {"metadata": {"name": f"redis.1-v{number}"}, "spec": {"reason": reason}, "status": status}


def failed(ago_s: float, message: str, node: str = "n1") -> dict[str, Any]:
    status = {"phase": "Failed", "node": node, "startedAt": stamp(ago_s), "message": message}
    return {"metadata": {"name": "redis.1-failed"}, "spec": {"reason": "Schedule"}, "status": status}


def event(
    reason: str, ago_s: float, message: str = "so", host: str = "n1", component: str = "swarmkeep-agent", **fields: Any
) -> dict[str, Any]:
    source = {"component": component, "host": host}
    times = {"firstTimestamp": stamp(ago_s), "lastTimestamp": stamp(ago_s)}
    return {"metadata": {}, "type": "Normal", "reason": reason, "message": message, "source": source, **times, **fields}


def start(how: str, ago_s: float, node: str, **fields: Any) -> dict[str, Any]:
    return {"how": how, "reason": "NodeLoss", "node": node, "at": stamp(ago_s), "taskID": "t", **fields}


def timeline(
    obj: dict[str, Any], versions: list[dict[str, Any]], events: list[dict[str, Any]], since_s: float | None = None
) -> Timeline:
    since = None if since_s is None else NOW - timedelta(seconds=since_s)
    return make_timeline(obj, versions, events, NOW, since)


def told(line: Timeline) -> list[tuple[float, str, str]]:
    """How long ago, what and where."""
    return [((NOW - moment.at).total_seconds(), str(moment.what), moment.node) for moment in line.moments]


def stays(line: Timeline) -> list[tuple[str, float, float]]:
    return [(stay.node, (NOW - stay.start).total_seconds(), (NOW - stay.end).total_seconds()) for stay in line.stays]


RUNNING = {"phase": "Running", "claim": {"node": "n2", "epoch": 2}}


def test_a_lost_node_and_the_restore_are_told_from_lasting_facts_alone() -> None:
    obj = workload(
        **RUNNING,
        lastEnd={"how": "NodeLoss", "at": stamp(300)},
        lastStart=start("Restored", 290, "n2", version=2, seconds=1.5),
    )
    line = timeline(obj, [version(2, 310), version(1, 400), version(3, 100, "n2", frozenSeconds=0.2)], [])
    assert told(line) == [
        (400, "Version", "n1"),
        (310, "Version", "n1"),
        (300, "Ended", "n1"),
        (290, "Moved", "n2"),
        (290, "Restored", "n2"),
        (100, "Version", "n2"),
    ]
    assert stays(line) == [("n1", 400, 300), ("n2", 290, 0)]
    assert line.nodes == ["n1", "n2"]
    assert line.moments[3].message == "from n1 to n2"
    assert line.moments[4].message == "from version 2 in 1.50 s after NodeLoss"
    assert line.moments[2].warning


def test_a_move_whose_start_nobody_remembers_is_seen_in_the_versions() -> None:
    line = timeline(workload(**RUNNING), [version(1, 7200, "n1"), version(2, 3600, "n2")], [])
    assert told(line) == [(7200, "Version", "n1"), (3600, "Moved", "n2"), (3600, "Version", "n2")]
    assert line.moments[1].message == f"from n1 to n2, at some time after {stamp(7200)}"
    assert stays(line) == [("n1", 7200, 7200), ("n2", 3600, 0)]


@pytest.mark.parametrize(
    ("facts", "versions", "events", "expected"),
    [
        # The event of the start that the status tells: the status says more.
        ({"lastStart": start("Restored", 100, "n1")}, [], [event("Restored", 97)], [(100, "Restored", "n1")]),
        ({"lastStart": start("Fresh", 100, "n1")}, [], [event("ColdStart", 100)], [(100, "Fresh", "n1")]),
        # Another start, another node: both happened.
        (
            {"lastStart": start("Restored", 100, "n1")},
            [],
            [event("Restored", 900)],
            [(900, "Restored", "n1"), (100, "Restored", "n1")],
        ),
        (
            {"lastStart": start("Restored", 100, "n1")},
            [],
            [event("Restored", 98, host="n2")],
            [(100, "Restored", "n1"), (98, "Moved", "n2"), (98, "Restored", "n2")],
        ),
        # A final version has a Checkpoint of its own.
        ({}, [version(4, 100, reason="Final")], [event("FinalVersion", 60)], [(100, "Version", "n1")]),
        ({}, [version(4, 100)], [event("FinalVersion", 60)], [(100, "Version", "n1"), (60, "Event", "n1")]),
        # So has a version that failed.
        ({}, [failed(100, "a socket")], [event("DumpFailed", 98, "a socket")], [(100, "VersionFailed", "n1")]),
        (
            {"claim": {"node": "n1"}, "lastFailure": {"reason": "DumpFailed", "message": "x", "at": stamp(5)}},
            [],
            [],
            [(5, "VersionFailed", "n1")],
        ),
        ({}, [], [event("Fenced", 50), event("Unfenced", 20)], [(50, "Fenced", "n1"), (20, "Unfenced", "n1")]),
        # What the operator tells happens on no node in particular.
        ({}, [], [event("NodeLost", 50, host="m1", component="swarmkeep-operator")], [(50, "Event", "")]),
        # A container that ran before its policy did.
        (
            {"claim": {"node": "n1"}, "container": {"taskID": "t1", "startedAt": stamp(70)}},
            [],
            [],
            [(70, "Adopted", "n1")],
        ),
        (
            {"container": {"taskID": "t", "startedAt": stamp(70)}, "lastStart": start("Fresh", 71, "n1")},
            [],
            [],
            [(71, "Fresh", "n1")],
        ),
        # Not finished yet, and never begun.
        ({}, [{"spec": {}, "status": {"phase": "Pending"}}, {"spec": {}}], [], []),
        ({}, [], [event("Odd", 5, lastTimestamp=None, eventTime=None)], []),
    ],
)
def test_what_is_told_twice_happened_once(
    facts: dict[str, Any],
    versions: list[dict[str, Any]],
    events: list[dict[str, Any]],
    expected: list[tuple[float, str, str]],
) -> None:
    assert told(timeline(workload(**facts), versions, events)) == expected


def test_a_failure_that_repeats_is_told_with_its_count() -> None:
    obj = workload(lastFailure={"reason": "DumpFailed", "message": "a socket", "consecutive": 4, "at": stamp(5)})
    line = timeline(obj, [failed(60, "a socket")], [event("Held", 30, "no claim", count=3, firstTimestamp=stamp(90))])
    assert [moment.message for moment in line.moments] == [
        "a socket",
        f"no claim (3 times since {stamp(90)})",
        "a socket (4 in a row)",
    ]


@pytest.mark.parametrize(
    ("status", "versions", "expected"),
    [
        (RUNNING, [version(1, 60, "n2")], [("n2", 60, 0)]),
        ({**RUNNING, "phase": "Lost"}, [version(1, 60, "n2")], [("n2", 60, 60)]),
        ({**RUNNING, "phase": "Fenced"}, [version(1, 60, "n2")], [("n2", 60, 0)]),
        (RUNNING, [version(1, 60, "n1")], [("n1", 60, 60)]),
        # The processes end with a final dump, whatever the status says by then.
        (RUNNING, [version(1, 90, "n2"), version(2, 60, "n2", "Final")], [("n2", 90, 60)]),
        # Restored on the same node: two stretches.
        (
            {**RUNNING, "lastStart": start("Restored", 30, "n2")},
            [version(1, 60, "n2")],
            [("n2", 60, 60), ("n2", 30, 0)],
        ),
    ],
)
def test_it_ran_where_it_was_seen_and_runs_where_the_claim_is(
    status: dict[str, Any], versions: list[dict[str, Any]], expected: list[tuple[str, float, float]]
) -> None:
    assert stays(timeline(workload(**status), versions, [])) == expected


def test_since_leaves_out_what_was_before_but_not_where_it_ran() -> None:
    line = timeline(workload(**RUNNING), [version(1, 600, "n2"), version(2, 30, "n2")], [], since_s=60)
    assert told(line) == [(30, "Version", "n2")]
    assert stays(line) == [("n2", 60, 0)]
    assert (line.start, line.end) == (NOW - timedelta(seconds=60), NOW)


def test_the_facts_for_programs_leave_out_what_is_not_known() -> None:
    line = timeline(workload(**RUNNING), [version(1, 60, "n2", frozenSeconds=0.25)], [])
    assert line.facts() == {
        "from": stamp(60),
        "to": stamp(0),
        "moments": [
            {
                "at": stamp(60),
                "what": "Version",
                "node": "n2",
                "reason": "Schedule",
                "message": "version 1",
                "version": 1,
                "frozenSeconds": 0.25,
                "warning": False,
            }
        ],
        "stays": [{"node": "n2", "from": stamp(60), "to": stamp(0)}],
    }


def test_nothing_known_is_an_empty_line() -> None:
    line = timeline(workload(), [], [])
    assert (line.moments, line.stays, line.start, line.end) == ((), (), NOW, NOW)


_SEEN = st.tuples(st.integers(0, 5000), st.sampled_from(["n1", "n2", "n3"]), st.sampled_from(["Schedule", "Final"]))


@given(st.lists(_SEEN, max_size=12), st.lists(_SEEN, max_size=6), st.none() | st.integers(0, 5000))
def test_moments_are_in_order_within_the_line_and_it_runs_at_one_place_at_a_time(
    taken: list[tuple[int, str, str]], restored: list[tuple[int, str, str]], since_s: int | None
) -> None:
    versions = [version(number, ago, node, reason) for number, (ago, node, reason) in enumerate(taken, 1)]
    line = timeline(
        workload(**RUNNING), versions, [event("Restored", ago, host=node) for ago, node, _ in restored], since_s
    )
    times = [moment.at for moment in line.moments]
    assert times == sorted(times)
    assert all(line.start <= at <= line.end for at in times)
    if since_s is None:
        kept: list[Moment] = [moment for moment in line.moments if moment.what is not What.MOVED]
        assert len(kept) == len(taken) + len(restored)
    assert all(stay.start <= stay.end for stay in line.stays)
    assert all(a.end <= b.start for a, b in zip(line.stays, line.stays[1:], strict=False))

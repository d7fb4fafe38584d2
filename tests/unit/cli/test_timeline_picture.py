"""The picture of a time line."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from swarmkeep.cli.timeline import Moment, Stay, Timeline, What
from swarmkeep.cli.timeline_picture import gather, lanes, picture, ruler, tell

START = datetime(2026, 1, 31, 11, 50, 0, tzinfo=UTC)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def moment(second: float, what: What, node: str = "n1", reason: str = "", message: str = "", **fields: Any) -> Moment:
    return Moment(at(second), what, node, reason, message, **fields)


def version(second: float, number: int, node: str = "n1", reason: str = "Schedule", frozen_s: float = 0.2) -> Moment:
    return moment(second, What.VERSION, node, reason, f"version {number}", version=number, frozen_s=frozen_s)


FAILOVER = Timeline(
    at(0),
    at(100),
    (
        version(0, 1),
        version(20, 2),
        version(40, 3),
        moment(45, What.ENDED, reason="NodeLoss", message="NodeLoss", warning=True),
        moment(50, What.MOVED, "n2", "Moved", "from n1 to n2"),
        moment(50, What.RESTORED, "n2", "NodeLoss", "from version 3 in 1.31 s after NodeLoss", version=3),
        version(70, 4, "n2"),
    ),
    (Stay("n1", at(0), at(45)), Stay("n2", at(50), at(100))),
)


def printed(line: Timeline, width: int) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, legacy_windows=False)
    console.print(picture(line, console.width))
    return [text.rstrip() for text in out.getvalue().splitlines()]


def test_each_node_has_a_lane() -> None:
    assert [(lane.node, lane.cells) for lane in lanes(FAILOVER, 20)] == [
        ("n1", "●───●───●■          "),
        ("n2", "          ▲───●─────"),
    ]


def test_all_of_it_as_a_terminal_shows_it() -> None:
    assert printed(FAILOVER, 64) == [
        "n1  ●──────────●───────────●──■",
        "n2                               ▲───────────●─────────────────",
        "    11:50:00    11:50:20    11:50:40    11:51:01    11:51:21",
        "one column is 1s695ms  ▲ restored  ■ ended  ● version",
        "",
        "TIME (UTC)           NODE     WHAT",
        "2026-01-31 11:50:00  n1    ●  3 versions, 1 to 3, in 40s,",
        "                              frozen for 200 ms, at most 200",
        "                              ms",
        "2026-01-31 11:50:45  n1    ■  ended: NodeLoss",
        "2026-01-31 11:50:50  n2    →  moved from n1 to n2",
        "2026-01-31 11:50:50  n2    ▲  restored: from version 3 in 1.31",
        "                              s after NodeLoss",
        "2026-01-31 11:51:10  n2    ●  version 4, frozen for 200 ms",
    ]


def test_what_must_not_be_overlooked_hides_what_may() -> None:
    crowded = (version(50, 1), moment(50, What.FAILED), moment(50, What.RESTORED), moment(50, What.EVENT))
    assert lanes(Timeline(at(0), at(100), crowded, ()), 4)[0].cells == "  ✗ "


@pytest.mark.parametrize(
    ("span_s", "expected"),
    [
        (60, "11:50:00    11:50:15    11:50:31"),
        (7200, "11:50    12:17    12:44    13:11"),
        (200_000, "01-31 11:50    02-01 08:40"),
    ],
)
def test_the_ruler_is_as_exact_as_the_span_asks_for(span_s: float, expected: str) -> None:
    columns = 46 if span_s < 7200 else 40
    assert ruler(Timeline(at(0), at(span_s), (), ()), columns)[: len(expected)] == expected


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        ([version(0, 1), version(1, 2), version(2, 3)], [3]),
        ([version(0, 1), version(1, 2)], [1, 1]),
        ([version(0, 1), version(1, 2), version(2, 3, "n2"), version(3, 4, "n2"), version(4, 5, "n2")], [1, 1, 3]),
        ([version(0, 1), version(1, 2, reason="Final"), version(2, 3), version(3, 4)], [1, 1, 1, 1]),
        ([moment(0, What.EVENT)] * 3, [1, 1, 1]),
        ([], []),
    ],
)
def test_only_long_rows_of_scheduled_versions_become_one_line(moments: list[Moment], expected: list[int]) -> None:
    groups = gather(moments)
    assert [len(group) for group in groups] == expected
    assert [one for group in groups for one in group] == moments


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ([version(0, 7)], "version 7, frozen for 200 ms"),
        ([version(0, 7, reason="Final", frozen_s=1.5)], "version 7 (Final), frozen for 1.50 s"),
        ([moment(0, What.FRESH, reason="NoVersion", message="none was taken")], "fresh: (NoVersion) none was taken"),
        ([moment(0, What.FAILED, message="a socket")], "version failed: a socket"),
        ([moment(0, What.EVENT, reason="Claimed", message="\x1b[2Jn1 took it\n")], "Claimed:  [2Jn1 took it "),
        (
            [version(0, 1), version(30, 2, frozen_s=0.1), version(7200, 3, frozen_s=2)],
            "3 versions, 1 to 3, in 2h, frozen for 200 ms, at most 2.00 s",
        ),
    ],
)
def test_a_line_says_what_happened(group: list[Moment], expected: str) -> None:
    assert tell(group) == expected


def test_a_line_without_any_node_has_no_lanes() -> None:
    only = Timeline(at(0), at(0), (moment(0, What.SELECTED, "", "Selected", "policy redis selected it"),), ())
    assert printed(only, 80)[1:] == ["2026-01-31 11:50:00        +  selected: policy redis selected it"]


@given(st.integers(0, 200), st.lists(st.floats(0, 100), max_size=20), st.floats(0, 100))
def test_every_width_is_kept_and_every_lane_has_its_columns(width: int, seconds: list[float], end: float) -> None:
    moments = tuple(version(second, number) for number, second in enumerate(sorted(seconds), 1) if second <= end)
    line = Timeline(at(0), at(end), moments, (Stay("n1", at(0), at(end)),))
    columns = max(10, width)
    assert all(len(lane.cells) == columns for lane in lanes(line, columns))
    assert len(ruler(line, columns)) <= max(columns, 11)
    assert all(len(text) <= max(width, 1) for text in printed(line, max(width, 1)))

"""What a rollback or a fresh start is said to do, which version and time are meant, and how the end is told."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from swarmkeep.cli.restoring import UNKNOWN_EXIT, Wish, verdict
from swarmkeep.cli.rollback import parse_moment, parse_version
from swarmkeep.errors import InvalidObject

from ..objects import NOW, checkpoint, workload


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(("text", "number"), [("v12", 12), ("12", 12), ("redis.1-v12", 12), ("my-app-v3", 3)])
def test_a_version_may_be_written_as_people_see_it(text: str, number: int) -> None:
    assert parse_version(text) == number


@pytest.mark.parametrize("text", ["", "v", "v0", "-1", "twelve", "v1.5", "v99999999999"])
def test_anything_else_is_no_version(text: str) -> None:
    with pytest.raises(InvalidObject, match="a version is a number"):
        parse_version(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("10:30", datetime(2026, 1, 1, 9, 30, tzinfo=UTC)),
        ("0:05:07", datetime(2025, 12, 31, 23, 5, 7, tzinfo=UTC)),
        ("2026-01-01T10:30:00Z", datetime(2026, 1, 1, 10, 30, tzinfo=UTC)),
        ("2026-01-01T10:30:00+01:00", datetime(2026, 1, 1, 9, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_of_today_here_unless_it_says_more(text: str, moment: datetime) -> None:
    assert parse_moment(text, NOW) == moment


def test_the_clock_of_that_moment_counts_on_the_day_on_which_it_changes() -> None:
    # Summer time began at 02:00 of that day: 01:30 was still winter time.
    now = datetime(2026, 3, 29, 12, tzinfo=UTC)
    assert parse_moment("1:30", now) == datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    assert parse_moment("10:30", now) == datetime(2026, 3, 29, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["23:00", "2027-01-01T00:00:00Z"])
def test_a_time_that_has_not_come_is_refused_and_the_clock_is_told(text: str) -> None:
    with pytest.raises(InvalidObject, match="has not come yet: it is 2026-01-01 13:00:00 CET"):
        parse_moment(text, NOW)


@pytest.mark.parametrize("text", ["24:00", "10:60", "noon", "2026-01-01", "10"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidObject, match="10:30 for today"):
        parse_moment(text, NOW)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (
            Wish(workload(), checkpoint(12, age_s=90), now=True, keep=True),
            [
                "redis.1: version 12, taken 2026-01-01 12:58:30 CET, 1m30s ago",
                "the task on n1 is ended with a last version, so that this can be taken back; Swarm makes the next one",
            ],
        ),
        (
            Wish(workload(), None, now=True, keep=False),
            [
                "redis.1: a fresh start; its versions stay and can be gone back to",
                "the task on n1 is ended and what it has now is LOST; Swarm makes the next one",
            ],
        ),
        (
            Wish(workload(), None, now=False, keep=True),
            [
                "redis.1: a fresh start; its versions stay and can be gone back to",
                "nothing is stopped: it counts for the next start, whenever that comes",
            ],
        ),
        (
            Wish(workload(claim=""), checkpoint(12, age_s=0), now=True, keep=True),
            [
                "redis.1: version 12, taken 2026-01-01 13:00:00 CET, 0s ago",
                "no task runs: it counts for the next one, which Swarm is about to make",
            ],
        ),
    ],
)
def test_what_will_happen_is_said(wish: Wish, said: list[str]) -> None:
    assert list(wish.sentences(NOW)) == said


def test_the_restore_names_the_version_that_was_shown() -> None:
    assert Wish(workload(), checkpoint(12), now=True, keep=True).spec() == {
        "workload": "redis.1",
        "version": 12,
        "when": "Now",
        "keepCurrent": True,
    }
    assert Wish(workload(), None, now=False, keep=False).spec() == {
        "workload": "redis.1",
        "fresh": True,
        "when": "NextStart",
        "keepCurrent": False,
    }


@pytest.mark.parametrize(
    ("restore", "code", "out", "err"),
    [
        ({"status": {"phase": "Done", "message": "came up"}}, 0, "came up\n", ""),
        (
            {"spec": {"when": "NextStart"}, "status": {"phase": "Pending", "message": "its next start"}},
            0,
            "its next start\n",
            "",
        ),
        ({"status": {"phase": "Failed", "message": "no version 9"}}, 1, "", "error: no version 9\n"),
        (
            {"status": {"phase": "Stopping", "message": "n1 ends it"}},
            UNKNOWN_EXIT,
            "",
            "error: timed out, it goes on: Stopping, n1 ends it\n",
        ),
        ({}, UNKNOWN_EXIT, "", "error: timed out, it goes on: not begun, the operator has not looked at it: is one"),
        (None, 1, "", "error: restore back was deleted before it had ended\n"),
    ],
)
def test_the_end_is_told(
    capsys: pytest.CaptureFixture[str], restore: dict[str, Any] | None, code: int, out: str, err: str
) -> None:
    assert verdict(restore, "back") == code
    printed = capsys.readouterr()
    assert printed.out == out
    assert printed.err.startswith(err)

"""What --since means."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from swarmkeep.cli.history import parse_since
from swarmkeep.errors import InvalidObject

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("1d30m", datetime(2026, 1, 30, 11, 30, tzinfo=UTC)),
        ("2026-01-31T12:00:00+01:00", datetime(2026, 1, 31, 11, tzinfo=UTC)),
    ],
)
def test_since_is_a_length_or_a_time(text: str, expected: datetime) -> None:
    assert parse_since(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("yesterday", "is no duration"),
        ("5", "is no duration"),
        ("2026-01-31T12:00:00", "has no time zone"),
        ("2026-02-01T12:00:00Z", "has not come yet"),
        ("999999999d", "too long|before all time"),
    ],
)
def test_anything_else_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(InvalidObject, match=complaint):
        parse_since(text, NOW)

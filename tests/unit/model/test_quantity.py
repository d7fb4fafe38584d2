"""Durations and sizes as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.errors import InvalidObject
from swarmkeep.model.quantity import format_bytes, format_duration, parse_duration, parse_quantity


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("250ms", 0.25), ("1.5h", 5400), ("30d", 2_592_000), ("0s", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "-5m", "5 s", "s", "1h 30m", "PT5S", "٣s", "1e3s", None, 5, "9" * 40 + "s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidObject, match="is no duration"):
        parse_duration(text)


@given(st.integers(0, 10**12))
def test_a_formatted_duration_is_read_back(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(("text", "size"), [("512Mi", 512 << 20), ("10G", 10**10), ("1.5Ki", 1536), ("7", 7), (7, 7)])
def test_sizes(text: str | int, size: int) -> None:
    assert parse_quantity(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1 Gi", "1gb", True, -1, None])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidObject, match="is no size"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1 << 20, "1.00 MiB"),
        (754 << 20, "754 MiB"),
        (5 << 50, "5120 TiB"),
    ],
)
def test_bytes_for_people(count: int, text: str) -> None:
    assert format_bytes(count) == text

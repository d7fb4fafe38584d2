"""How long to wait after a failure before the same thing is tried again."""

from __future__ import annotations

from datetime import timedelta

FIRST = timedelta(milliseconds=200)
LONGEST = timedelta(seconds=30)


def backoff(failures: int, first: timedelta = FIRST, longest: timedelta = LONGEST) -> timedelta:
    """The wait after `failures` tries in a row that failed: doubles from `first`, never longer than `longest`."""
    if failures <= 0:
        return timedelta()
    factor: int = 2 ** min(failures - 1, 32)
    return min(first * factor, longest)

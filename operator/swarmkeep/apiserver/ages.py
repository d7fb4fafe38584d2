"""Lengths of time as `kubectl get` shows them in its Age columns: coarser the longer they are."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from swarmkeep.errors import InvalidObject
from swarmkeep.model.wire import parse_time

UNKNOWN = "<unknown>"

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86_400, 365 * 86_400

_SCALE = (
    # below, unit, its letter, smaller unit, its letter
    (2 * _MINUTE, 1, "s", 0, ""),
    (10 * _MINUTE, _MINUTE, "m", 1, "s"),
    (3 * _HOUR, _MINUTE, "m", 0, ""),
    (8 * _HOUR, _HOUR, "h", _MINUTE, "m"),
    (2 * _DAY, _HOUR, "h", 0, ""),
    (8 * _DAY, _DAY, "d", _HOUR, "h"),
    (2 * _YEAR, _DAY, "d", 0, ""),
    (8 * _YEAR, _YEAR, "y", _DAY, "d"),
    (1 << 62, _YEAR, "y", 0, ""),
)
"""The steps of Kubernetes' HumanDuration, so that our columns read as any other."""


def age(moment: Any, now: datetime) -> str:
    """Time from `moment`, an RFC 3339 text, to `now`: `45s`, `5m10s`, `3h`, `12d`; `<unknown>` if there is none."""
    try:
        return human_duration(now - parse_time(moment))
    except InvalidObject:
        return UNKNOWN


def human_duration(duration: timedelta) -> str:
    """`duration` in at most two units. Clocks differ: up to two seconds in the future count as now."""
    seconds = int(duration.total_seconds())
    if seconds < -1:
        return "<invalid>"
    seconds = max(0, seconds)
    unit, letter, smaller, smaller_letter = next(row[1:] for row in _SCALE if seconds < row[0])
    count, rest = divmod(seconds, unit)
    small = rest // smaller if smaller else 0
    return f"{count}{letter}{small}{smaller_letter}" if small else f"{count}{letter}"

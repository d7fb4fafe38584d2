"""Durations (`90s`, `1h30m`) and sizes (`512Mi`) as users write them in objects and settings.

Durations follow Go's time.ParseDuration restricted to what a person would write, plus `d` for days; sizes follow
Kubernetes' resource quantities restricted to whole bytes.
"""

from __future__ import annotations

import re
from datetime import timedelta

from swarmkeep.errors import InvalidObject

_DURATION_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION_PART = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|d|h|m|s)", re.ASCII)
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,6})?(?:ms|d|h|m|s))+", re.ASCII)

_BINARY_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50}
_DECIMAL_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_QUANTITY = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """The length of time that `text` says, for example `90s`, `1h30m`, `250ms`, `30d`.

    Raises InvalidObject, with what is allowed, for anything else; a bare number has no unit and is refused.
    """
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise InvalidObject(
            f"{text!r} is no duration: write numbers with units ms, s, m, h or d, for example 90s or 1h30m"
        )
    seconds = sum(float(number) * _DURATION_UNITS[unit] for number, unit in _DURATION_PART.findall(text))
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise InvalidObject(f"{text!r} is too long a duration") from None


def format_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads back, exact to a millisecond; a negative length becomes 0s."""
    rest = max(0, round(duration / timedelta(milliseconds=1)))
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_quantity(text: str | int) -> int:
    """The number of bytes that `text` says, for example `512Mi`, `1.5G`, `4096`. Raises InvalidObject."""
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if not match:
        raise InvalidObject(f"{text!r} is no size: write a number of bytes with a unit, for example 512Mi or 10G")
    number, unit = match[1], match[2] or ""
    size = _BINARY_UNITS.get(unit) or _DECIMAL_UNITS[unit]
    return round(float(number) * size) if "." in number else int(number) * size


def format_bytes(count: int) -> str:
    """`count` bytes for people, to three digits: `512 B`, `1.21 MiB`, `754 MiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1000 or unit == "TiB":
            digits = 0 if unit == "B" or value >= 100 else 1 if value >= 10 else 2
            return f"{value:.{digits}f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")

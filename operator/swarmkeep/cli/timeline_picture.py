"""A time line as a picture of letters: a lane for each node, and below them what happened, one line each. Pure.

Columns of the lanes are equal stretches of time. Where several things fall into one column, the one that a person must
not overlook is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from statistics import median

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from swarmkeep.cli.printing import cell_text
from swarmkeep.cli.timeline import Moment, Timeline, What
from swarmkeep.model.quantity import format_duration

RUNS, NOTHING = "─", " "
SIGNS = {
    # what: (sign in the lanes, style); the first ones hide the later ones.
    What.FAILED: ("✗", "red"),
    What.RESTORED: ("▲", "green"),
    What.FRESH: ("△", "yellow"),
    What.FENCED: ("░", "red"),
    What.ENDED: ("■", "bold"),
    What.VERSION: ("●", "cyan"),
    What.UNFENCED: ("▒", "green"),
    What.ADOPTED: ("◇", "green"),
    What.MOVED: ("→", "magenta"),
    What.SELECTED: ("+", ""),
    What.EVENT: ("·", ""),
}
_IN_LANES = tuple(what for what in SIGNS if what not in (What.MOVED, What.SELECTED, What.EVENT))
_NARROWEST = 10
"""Columns of time that are drawn however narrow the terminal is."""
_GATHERED = 3
"""So many versions on schedule in a row become one line."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One node's part of the picture; `cells` has one letter for each column."""

    node: str
    cells: str


def lanes(line: Timeline, columns: int) -> list[Lane]:
    """The lanes of all nodes, in the order in which it came to them."""
    found = []
    for node in line.nodes:
        cells = [NOTHING] * columns
        for stay in line.stays:
            if stay.node == node:
                for column in range(_column(line, stay.start, columns), _column(line, stay.end, columns) + 1):
                    cells[column] = RUNS
        for what in reversed(_IN_LANES):
            for moment in line.moments:
                if moment.node == node and moment.what is what:
                    cells[_column(line, moment.at, columns)] = SIGNS[what][0]
        found.append(Lane(node, "".join(cells)))
    return found


def ruler(line: Timeline, columns: int) -> str:
    """Times below the lanes: each begins in the column that it names."""
    span = line.end - line.start
    form = "%H:%M:%S" if span < timedelta(hours=1) else "%H:%M" if span < timedelta(days=1) else "%m-%d %H:%M"
    width = len(line.start.strftime(form))
    text, step = "", width + 4
    for column in range(0, max(1, columns - width + 1), step):
        moment = line.start + span * column / columns
        text = text.ljust(column) + moment.strftime(form)
    return text


def picture(line: Timeline, width: int) -> RenderableType:
    """All of it for a terminal that is `width` columns wide."""
    name_width = max((len(node) for node in line.nodes), default=0) + 2
    columns = max(_NARROWEST, width - name_width - 1)
    drawn: list[RenderableType] = []
    for lane in lanes(line, columns):
        text = Text(cell_text(lane.node).ljust(name_width), no_wrap=True, overflow="crop")
        for cell, row in groupby(lane.cells):
            text.append("".join(row), style=_style_of(cell))
        drawn.append(text)
    if drawn:
        drawn.append(Text(" " * name_width + ruler(line, columns), style="dim", no_wrap=True, overflow="crop"))
        drawn.append(_legend(line, columns))
        drawn.append(Text())
    drawn.append(_list(line))
    return Group(*drawn)


def _list(line: Timeline) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("TIME (UTC)", no_wrap=True)
    table.add_column("NODE", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("WHAT", overflow="fold")
    for group in gather(line.moments):
        first = group[0]
        sign, style = SIGNS[first.what]
        node = cell_text(first.node)
        style = "yellow" if first.warning and first.what is What.EVENT else style
        table.add_row(f"{first.at:%Y-%m-%d %H:%M:%S}", node, Text(sign, style=style), Text(tell(group), style=style))
    return table


def gather(moments: Sequence[Moment]) -> list[list[Moment]]:
    """The moments with long rows of versions on schedule of one node put together; nothing is left out."""
    groups: list[list[Moment]] = []
    for moment in moments:
        plain = moment.what is What.VERSION and moment.reason == "Schedule"
        before = groups[-1][-1] if groups else None
        if plain and before and (before.what, before.reason, before.node) == (moment.what, moment.reason, moment.node):
            groups[-1].append(moment)
        else:
            groups.append([moment])
    return [part for group in groups for part in ([group] if len(group) >= _GATHERED else [[one] for one in group])]


def tell(group: Sequence[Moment]) -> str:
    """One line's text."""
    first, last = group[0], group[-1]
    frozen = [moment.frozen_s for moment in group if moment.frozen_s is not None]
    if len(group) > 1:
        text = f"{len(group)} versions, {first.version} to {last.version}, in {_rough(last.at - first.at)}"
        if frozen:
            text += f", frozen for {frozen_text(median(frozen))}, at most {frozen_text(max(frozen))}"
        return text
    if first.what is What.VERSION:
        reason = "" if first.reason == "Schedule" else f" ({first.reason})"
        return cell_text(first.message) + reason + (f", frozen for {frozen_text(frozen[0])}" if frozen else "")
    if first.what is What.EVENT:
        return cell_text(f"{first.reason}: {first.message}")
    words = {What.FAILED: "version failed: ", What.ENDED: "ended: ", What.MOVED: "moved "}
    start = words.get(first.what, f"{first.what.lower()}: ")
    because = f"({first.reason}) " if first.what is What.FRESH and first.reason not in first.message else ""
    return cell_text(start + because + first.message)


def frozen_text(seconds: float) -> str:
    """How long it stood still."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _legend(line: Timeline, columns: int) -> Text:
    there = {moment.what for moment in line.moments if moment.node}
    text = Text(style="dim")
    each = (line.end - line.start) / columns
    text.append(f"one column is {format_duration(each) if each >= timedelta(milliseconds=1) else '0s'}")
    for what in _IN_LANES:
        if what in there:
            text.append(f"  {SIGNS[what][0]} {_NAMES[what]}")
    return text


_NAMES = {
    What.FAILED: "version failed",
    What.RESTORED: "restored",
    What.FRESH: "started fresh",
    What.FENCED: "fenced",
    What.ENDED: "ended",
    What.VERSION: "version",
    What.UNFENCED: "went on",
    What.ADOPTED: "protected",
}


def _style_of(cell: str) -> str:
    return next((style for sign, style in SIGNS.values() if sign == cell), "dim")


def _column(line: Timeline, at: datetime, columns: int) -> int:
    span = line.end - line.start
    if not span:
        return columns - 1
    return min(columns - 1, max(0, int((at - line.start) / span * columns)))


def _rough(length: timedelta) -> str:
    unit = timedelta(seconds=1 if length < timedelta(minutes=10) else 60 if length < timedelta(days=1) else 3600)
    return format_duration(length // unit * unit)

"""How a measurement is told: a table, whether the goals are reached, and a JSON file for other programs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.machine import describe_machine

Row = Mapping[str, str]
"""Cells by their column's heading."""


@dataclass(frozen=True, slots=True)
class Goal:
    """Something promised, and what was measured."""

    name: str
    measured: float
    limit: float
    at_least: bool = False

    @property
    def reached(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"[{'ok' if self.reached else 'NOT REACHED'}] {self.name}: {self.measured:.3g} {sign} {self.limit:g}"


def is_promised(megabytes: int) -> bool:
    """Whether the goals are for containers of that size."""
    return 700 <= megabytes <= 800


def ratio(name: str, own: float, other: float, limit: float) -> Goal:
    """A share of somebody else's value."""
    return Goal(name, own / other if other else float("inf"), limit)


def table(rows: Sequence[Row]) -> str:
    """Columns as wide as their longest cell; the first three to the left, figures to the right."""
    if not rows:
        return ""
    heads = list(rows[0])
    widths = [max(len(head), *(len(row.get(head, "")) for row in rows)) for head in heads]
    lines = []
    for row in [{head: head for head in heads}, *rows]:
        cells = [row.get(head, "") for head in heads]
        lines.append(
            "  ".join(
                cell.ljust(width) if place < 3 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ).rstrip()
        )
    return "\n".join(lines)


def write_json(path: Path, what: str, samples: Sequence[Mapping[str, object]], goals: Sequence[Goal]) -> None:
    """Writes everything that was measured."""
    content = {
        "what": what,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": describe_machine(),
        "samples": list(samples),
        "goals": [asdict(goal) | {"reached": goal.reached} for goal in goals],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")

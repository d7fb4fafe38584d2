"""Line: which of a workload's versions lead to what runs now. A rollback leaves the versions after it behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

KEPT = 20
"""So many rollbacks are remembered; versions of earlier ones are long pruned."""


@dataclass(frozen=True, slots=True, order=True)
class Branch:
    """Versions that were left behind: those above one number, up to and including another."""

    above: int
    up_to: int

    def has(self, number: int) -> bool:
        """Whether that version was left behind by it."""
        return self.above < number <= self.up_to


@dataclass(frozen=True, slots=True)
class Line:
    """All versions but those that were left behind. Without rollbacks that is every version."""

    left: tuple[Branch, ...] = ()

    def has(self, number: int) -> bool:
        """Whether what runs now came by way of that version."""
        return not any(branch.has(number) for branch in self.left)

    @property
    def top(self) -> int:
        """The highest number at the last rollback; 0 before the first."""
        return max((branch.up_to for branch in self.left), default=0)

    @property
    def begins_fresh(self) -> bool:
        """Whether nothing at all is before the last rollback: it was started fresh on purpose."""
        return any(branch.above == 0 for branch in self.left)

    def back_to(self, number: int, highest: int) -> Line:
        """The line after a rollback to a version while `highest` was the highest number; `number` 0 is a fresh start.

        Going back to a version that was left behind takes that rollback back.
        """
        left = [branch for branch in self.left if not branch.has(number)]
        if number < highest:
            left.append(Branch(number, highest))
        return Line(tuple(sorted(left, key=lambda branch: branch.up_to)[-KEPT:]))

    def or_of_version(self, number: int, line: Line) -> Line:
        """This line as the API tells it, unless a version that was taken after its last rollback knows better."""
        return line if number > self.top else self

    def wire(self) -> list[dict[str, int]]:
        """As status.leftBehind of a Workload has it, and the facts of a version."""
        return [{"above": branch.above, "upTo": branch.up_to} for branch in self.left]


def parse_line(raw: Iterable[Mapping[str, Any]] | None) -> Line:
    """Reads what `wire` gives; None stands for no rollbacks. Raises KeyError, TypeError, ValueError."""
    return Line(tuple(Branch(int(item["above"]), int(item["upTo"])) for item in raw or ()))

"""Line: which of a workload's versions lead to what runs now. A rollback leaves the versions after it behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

KEPT = 50
"""So many rollbacks are remembered of one line; versions of earlier ones are long pruned."""


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
        """The line after a rollback to a version of this line while `highest` was the highest number.

        To be called on the line that the version itself was taken on: what it came by way of stays, however often
        others went back elsewhere since. 0 is a fresh start, and comes by way of nothing.
        """
        left = [branch for branch in self.left if number and branch.up_to < number]
        if number < highest:
            left.append(Branch(number, highest))
        return Line(tuple(left[-KEPT:]))

    def or_of_version(self, number: int, line: Line) -> Line:
        """This line as the API tells it, unless a version that was taken after its last rollback knows better."""
        return line if number > self.top else self

    def wire(self) -> list[dict[str, int]]:
        """As status.leftBehind of a Workload has it, and the facts of a version."""
        return [{"above": branch.above, "upTo": branch.up_to} for branch in self.left]


def parse_line(raw: Iterable[Mapping[str, Any]] | None) -> Line:
    """Reads what `wire` gives; None stands for no rollbacks. Raises KeyError, TypeError, ValueError."""
    return Line(tuple(Branch(int(item["above"]), int(item["upTo"])) for item in raw or ()))

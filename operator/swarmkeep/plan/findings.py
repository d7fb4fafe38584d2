"""What the doctor finds: one thing that would not survive, or only under a condition, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is."""

    PROBLEM = "Problem"
    """State is lost, or no version can be taken or restored."""
    WARNING = "Warning"
    """State survives only under a condition that nobody checks."""
    NOTE = "Note"
    """Good to know."""


_RANK = {Severity.PROBLEM: 0, Severity.WARNING: 1, Severity.NOTE: 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding about a node or a workload."""

    code: str
    """One CamelCase word for programs."""
    severity: Severity
    message: str
    """What is so, in plain words."""
    advice: str = ""
    """What to do; empty when there is nothing to do."""

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}" if self.advice else self.message


def problem(code: str, message: str, advice: str = "") -> Finding:
    """State is lost with it."""
    return Finding(code, Severity.PROBLEM, message, advice)


def warning(code: str, message: str, advice: str = "") -> Finding:
    """State may be lost with it."""
    return Finding(code, Severity.WARNING, message, advice)


def note(code: str, message: str, advice: str = "") -> Finding:
    """Nothing is lost with it."""
    return Finding(code, Severity.NOTE, message, advice)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sorted by severity; equal ones stay in the order in which they were found."""
    return tuple(sorted(findings, key=lambda finding: _RANK[finding.severity]))


def is_bad(findings: Iterable[Finding]) -> bool:
    """Whether a person has something to do: any problem or warning."""
    return any(finding.severity is not Severity.NOTE for finding in findings)

"""A policy's condition Portable: the doctor's findings about the containers of its workloads. Used by the operator."""

from __future__ import annotations

from collections.abc import Mapping

from swarmkeep.model.conditions import Condition, Status
from swarmkeep.model.policy import Policy
from swarmkeep.model.traits import ContainerTraits
from swarmkeep.plan.findings import Finding, Severity
from swarmkeep.plan.workload_doctor import examine_container

PORTABLE = "Portable"
_NAMED = 3
"""Findings, and workloads of a finding, that a message names before it only counts."""


def portable(policy: Policy, traits: Mapping[str, ContainerTraits | None]) -> Condition:
    """Whether the configuration of the containers lets their state go on elsewhere. `traits` are by workload name."""
    known = {name: found for name, found in sorted(traits.items()) if found is not None}
    if not known:
        return Condition(PORTABLE, Status.UNKNOWN, "NotRunning", "none of its containers has been looked at yet")
    where: dict[Finding, list[str]] = {}
    for name, found in known.items():
        for finding in examine_container(found, policy):
            where.setdefault(finding, []).append(name)
    problems = [finding for finding in where if finding.severity is Severity.PROBLEM]
    warnings = [finding for finding in where if finding.severity is Severity.WARNING]
    if problems:
        return Condition(PORTABLE, Status.FALSE, problems[0].code, _told(problems + warnings, where))
    if warnings:
        return Condition(PORTABLE, Status.TRUE, warnings[0].code, _told(warnings, where))
    text = "nothing in the configuration of its containers keeps their state from going on elsewhere"
    return Condition(PORTABLE, Status.TRUE, "NothingFound", text)


def _told(findings: list[Finding], where: Mapping[Finding, list[str]]) -> str:
    said = [f"{_some(where[finding])}: {finding}" for finding in findings[:_NAMED]]
    rest = len(findings) - _NAMED
    return "; ".join(said) + (f"; and {rest} more, see swarmkeep doctor" if rest > 0 else "")


def _some(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")

"""A policy's condition Portable: the doctor's findings about the containers of its workloads. Used by the operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from swarmkeep.model.conditions import Condition, Status
from swarmkeep.model.policy import Policy
from swarmkeep.model.traits import ContainerTraits
from swarmkeep.plan.findings import Finding, Severity, warning
from swarmkeep.plan.workload_doctor import examine_container

PORTABLE = "Portable"
_NAMED = 3
"""Findings, and workloads of a finding, that a message names before it only counts."""


_START_FIRST = warning(
    "StartFirst",
    "an update starts the new task before the old one has ended, but only one copy may run: the update waits until "
    "restore.holdLimit and fails",
    "docker service update --update-order stop-first",
)


def portable(
    policy: Policy, traits: Mapping[str, ContainerTraits | None], start_first: Iterable[str] = ()
) -> Condition:
    """Whether the configuration of the containers lets their state go on elsewhere. `traits` are by workload name.

    `start_first` are services whose updates start the new task before the old one has ended.
    """
    known = {name: found for name, found in sorted(traits.items()) if found is not None}
    if not known:
        return Condition(PORTABLE, Status.UNKNOWN, "NotRunning", "none of its containers has been looked at yet")
    where: dict[Finding, list[str]] = {}
    for name, found in known.items():
        for finding in examine_container(found, policy):
            where.setdefault(finding, []).append(name)
    for name in sorted(start_first):
        where.setdefault(_START_FIRST, []).append(name)
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

"""What `swarmkeep doctor --try` makes of a trial."""

from typing import Any

import pytest

from swarmkeep.cli.trial import judge_trial


def tried(result: str, phase: str = "Tried") -> dict[str, Any]:
    trial = {"result": result, "node": "n2", "message": "what happened"}
    return {"status": {"phase": phase, "node": "n2", "frozenSeconds": 0.25, "trial": trial}}


@pytest.mark.parametrize(
    ("obj", "code", "severity", "words"),
    [
        (tried("Passed"), "Restorable", "Note", "dumped (it stood still for 0.25 s) and restored on n2: what happened"),
        (tried("Failed", "Failed"), "RestoreFailed", "Problem", "not restored on n2: what happened"),
        (tried("Unknown"), "CannotBeTried", "Warning", "is not known: what happened"),
        ({"status": {"phase": "Failed", "message": "it has a GPU"}}, "DumpFailed", "Problem", "it has a GPU"),
        ({"status": {"phase": "Pending", "node": "n2"}}, "TrialTimedOut", "Warning", "n2 has it"),
        ({"status": {}}, "TrialTimedOut", "Warning", "is an operator running?"),
        ({}, "TrialTimedOut", "Warning", "no node has it"),
    ],
)
def test_each_outcome_is_a_finding(obj: dict[str, Any], code: str, severity: str, words: str) -> None:
    found = judge_trial(obj)
    assert (found.code, found.severity) == (code, severity)
    assert words in found.message

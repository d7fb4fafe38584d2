"""What --for means."""

from __future__ import annotations

from typing import Any

import pytest

from swarmkeep.cli.wait import compile_test
from swarmkeep.errors import InvalidObject

READY: dict[str, Any] = {
    "spec": {"a": "x=y"},
    "status": {"phase": "Running", "number": 3, "conditions": [{"type": "Ready", "status": "True"}]},
}


@pytest.mark.parametrize(
    ("wanted", "obj", "holds"),
    [
        ("condition=Ready", READY, True),
        ("condition=Ready=true", READY, True),
        ("condition=Ready=False", READY, False),
        ("condition=Drift", READY, False),
        ("condition=Ready", None, False),
        ("condition=Ready", {}, False),
        ("delete", READY, False),
        ("delete", None, True),
        ("create", None, False),
        ("create", {}, True),
        ("jsonpath={.status.phase}=Running", READY, True),
        ("jsonpath={.status.phase}=Lost", READY, False),
        ("jsonpath='{.status.number}'=3", READY, True),
        ("jsonpath=.status.number=3", READY, True),
        ("jsonpath={.status.phase}", READY, True),
        ("jsonpath={.status.absent}", READY, False),
        ('jsonpath={.status.conditions[?(@.type=="Ready")].status}=True', READY, True),
        ("jsonpath={.spec.a}=x=y", READY, True),
        ("jsonpath={.status.phase}=Running", None, False),
    ],
)
def test_conditions(wanted: str, obj: dict[str, Any] | None, holds: bool) -> None:
    assert compile_test(wanted)(obj) is holds


@pytest.mark.parametrize("wanted", ["", "condition", "condition=", "ready", "jsonpath="])
def test_what_cannot_be_read_is_refused(wanted: str) -> None:
    with pytest.raises(InvalidObject, match="write condition=TYPE"):
        compile_test(wanted)

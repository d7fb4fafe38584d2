"""What `swarmkeep verify` makes of the answers."""

from typing import Any

import pytest

from swarmkeep.cli.verify import Verdict, _print, judge

AT = "2026-01-01T12:00:00Z"
GOOD = {"name": "main", "result": "Good", "how": "Full", "node": "n1"}
HURT = {"name": "far", "result": "Damaged", "damagedFiles": 3, "problems": [{"path": "a", "problem": "b"}]}
WHOLE = {"name": "far", "result": "Damaged", "damagedFiles": 1, "problems": [{"path": "", "problem": "b"}]}


def version(verified: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    found = {"phase": "Stored", **status}
    if verified is not None:
        found["verified"] = verified
    return {"metadata": {"name": "redis.1-v3"}, "status": found}


@pytest.mark.parametrize(
    ("obj", "verdict"),
    [
        (None, ("Gone", ("deleted meanwhile",))),
        (version(phase="Deleting"), ("Gone", ("deleted meanwhile",))),
        ({**version(), "metadata": {"deletionTimestamp": AT}}, ("Gone", ("deleted meanwhile",))),
        (version(), ("Waiting", ("not given to a node yet: is an operator running?",))),
        (version(verification={"node": "n2"}), ("Waiting", ("given to n2",))),
        (version(verification={"message": "no node"}), ("Waiting", ("no node",))),
        (
            version({"requestedAt": "earlier", "result": "Good"}, verification={"node": "n2"}),
            ("Waiting", ("given to n2",)),
        ),
        (
            version({"requestedAt": AT, "result": "Good", "locations": [GOOD]}, phase="Replicated"),
            ("Good", ("main: Full on n1",)),
        ),
        (version({"requestedAt": AT, "result": "Good", "trouble": "too slow"}), ("Unknown", ("too slow",))),
        (
            version({"requestedAt": AT, "result": "Damaged", "locations": [HURT]}),
            ("Damaged", ("far: a: b", "far: and 2 more files")),
        ),
        (
            version({"requestedAt": AT, "result": "DamagedCopy", "locations": [GOOD, {**HURT, "notRepaired": "full"}]}),
            ("DamagedCopy", ("main: Full on n1", "far: a: b", "far: and 2 more files", "far: full")),
        ),
        (
            version({"requestedAt": AT, "result": "Repaired", "locations": [{**GOOD, "repairedFrom": "far"}]}),
            ("Repaired", ("main: Full on n1, written again out of far",)),
        ),
        (
            version({"requestedAt": AT, "result": "Damaged", "locations": [WHOLE, {"name": "x", "trouble": "away"}]}),
            ("Damaged", ("far: the whole version: b", "x: not looked at: away")),
        ),
    ],
)
def test_each_answer_has_its_verdict(obj: Any, verdict: tuple[str, tuple[str, ...]]) -> None:
    assert judge("redis.1-v3", obj, AT) == Verdict("redis.1-v3", *verdict)


@pytest.mark.parametrize(
    ("results", "code"),
    [
        (["Good", "Gone"], 0),
        (["Good", "Damaged"], 1),
        (["Unknown", "Damaged", "Waiting"], 1),
        (["DamagedCopy"], 1),
        (["Repaired"], 0),
        (["Good", "Unknown"], 3),
        (["Waiting"], 3),
    ],
)
def test_the_exit_code_says_the_worst(results: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert _print([Verdict("v", result, ("one", "two\x1b[2J")) for result in results]) == code
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out
    assert ("timed out" in shown.err) is ("Waiting" in results)

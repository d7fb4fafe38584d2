"""What `swarmkeep verify` makes of the answers."""

from typing import Any

import pytest

from swarmkeep.cli.verify import Verdict, _print, judge

AT = "2026-01-01T12:00:00Z"


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
        (version({"requestedAt": AT, "result": "Good", "how": "Full", "node": "n1"}), ("Good", ("Full on n1",))),
        (version({"requestedAt": AT, "result": "Good", "trouble": "too slow"}), ("Unknown", ("too slow",))),
        (
            version(
                {"requestedAt": AT, "result": "Damaged", "damagedFiles": 3, "problems": [{"path": "a", "problem": "b"}]}
            ),
            ("Damaged", ("a: b", "and 2 more files")),
        ),
        (
            version({"requestedAt": AT, "result": "Damaged", "problems": [{"path": "", "problem": "b"}]}),
            ("Damaged", ("the whole version: b",)),
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
        (["Good", "Unknown"], 3),
        (["Waiting"], 3),
    ],
)
def test_the_exit_code_says_the_worst(results: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert _print([Verdict("v", result, ("one", "two\x1b[2J")) for result in results]) == code
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out
    assert ("timed out" in shown.err) is ("Waiting" in results)

"""What `swarmkeep verify` makes of the answers."""

from typing import Any

import pytest

from swarmkeep.cli.verify import Verdict, _print, judge, newest_of_each

AT = "2026-01-01T12:00:00Z"
GOOD = {"name": "main", "result": "Good", "how": "Full", "node": "n1"}
HURT = {"name": "far", "result": "Damaged", "damagedFiles": 3, "problems": [{"path": "a", "problem": "b"}]}
WHOLE = {"name": "far", "result": "Damaged", "damagedFiles": 1, "problems": [{"path": "", "problem": "b"}]}


def version(verified: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    found = {"phase": "Stored", **status}
    if verified is not None:
        found["verified"] = verified
    return {"metadata": {"name": "redis.1-v3"}, "status": found}


def restored(result: str, restore: str) -> dict[str, Any]:
    tried = {"result": restore, "node": "n2", "message": "it came up"}
    return version({"requestedAt": AT, "result": result, "how": "Restore", "node": "n2", "restore": tried})


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
        (restored("Good", "Passed"), ("Good", ("restore on n2: it came up",))),
        (restored("Unrestorable", "Failed"), ("Unrestorable", ("restore on n2: it came up",))),
        (restored("Good", "Unknown"), ("Unknown", ("restore on n2: it came up",))),
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
        (["Good", "Unrestorable"], 1),
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


def test_of_a_workload_the_newest_version_is_restored_and_of_named_ones_each() -> None:
    def stored(number: int, workload: str = "redis.1") -> dict[str, Any]:
        name = {"name": f"{workload}-v{number}", "namespace": "default"}
        return {"metadata": name, "spec": {"workload": workload}, "status": {"version": number}}

    objects = [stored(1), stored(10), stored(9), stored(3, "db.1")]
    chosen = [obj["metadata"]["name"] for obj in newest_of_each(objects, ["redis.1"])]
    assert chosen == ["redis.1-v10", "db.1-v3"]
    chosen = [obj["metadata"]["name"] for obj in newest_of_each(objects, ["ckpt/redis.1-v1", "redis.1-v9"])]
    assert chosen[:2] == ["redis.1-v1", "redis.1-v9"]

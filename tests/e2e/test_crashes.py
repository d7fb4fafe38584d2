"""Tasks that crash again and again: older versions get their turn, restores are slowed down, and it is told once."""

from collections.abc import Callable
from typing import Any

import pytest

from swarmlab import Lab
from swarmlab.process import wait_until
from swarmlab.workload import Api, Service, policy

POISONED = """
import os, sys, time
left = None
while True:
    time.sleep(0.1)
    if left is None and os.path.exists("/tmp/poison"): left = 25
    if left is not None:
        left -= 1
        if left == 0: sys.exit(5)
    open("/tmp/state", "w").write("good" if left is None else "poisoned")
"""
"""Takes poison into its memory, which lets it crash 2.5 s later: now, and whenever it is restored with it."""

GREEDY = """
import time
kept = []
while True:
    kept.append(bytearray(b"x" * (2 << 20)))
    time.sleep(0.2)
"""
"""Takes 10 MB a second: slowly enough for a loaded machine to take versions meanwhile."""


def crashes(api: Api, workload: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get("workload", workload)["status"].get("crashes", {})
    return found


def condition(api: Api, kind: str, name: str, type_: str) -> dict[str, Any]:
    found = api.get(kind, name).get("status", {}).get("conditions", [])
    return next((item for item in found if item["type"] == type_), {})


def has_reason(api: Api, kind: str, name: str, type_: str, reason: str) -> Callable[[], bool]:
    return lambda: condition(api, kind, name, type_).get("reason") == reason


@pytest.mark.timeout(700)
def test_a_poisoned_state_is_left_behind_and_a_loop_is_told_once(lab: Lab, api: Api) -> None:
    poisoned, greedy = Service(lab, "poisoned"), Service(lab, "greedy")
    restore = {"attempts": 2}
    api.apply(policy("poisoned", every="1s", restore=restore, retention={"keepLast": 8}))
    api.apply(policy("greedy", every="1s", restore={"attempts": 9, "otherwise": "Hold"}))
    node = ("--constraint", "node.hostname==n2")
    poisoned.create("python", "python3", "-c", POISONED, options=node)
    greedy.create(
        "python", "python3", "-c", GREEDY, options=["--constraint", "node.hostname==n3", "--limit-memory", "90m"]
    )
    api.wait_version("poisoned.1", 4)
    poisoned.execute("touch", "/tmp/poison")
    wait_until(
        "a loop to be told", has_reason(api, "workload", "poisoned.1", "CrashLoop", "RestoredCrashes"), limit_s=240
    )
    wait_until("the policy to tell", has_reason(api, "cpol", "poisoned", "Degraded", "CrashLoop"), limit_s=30)

    def is_well() -> bool:
        start = api.get("workload", "poisoned.1")["status"].get("lastStart", {})
        state = poisoned.execute("cat", "/tmp/state", limit_s=10) if poisoned.find() else ""
        return start.get("how") == "Restored" and state == "good"

    wait_until("an older version to be restored that has no poison", is_well, limit_s=150)
    assert crashes(api, "poisoned.1")["inRow"] >= 3
    known = api.newest_version("poisoned.1")
    api.wait_version("poisoned.1", known + 2)
    told = [event for event in api.list("events") if event["involvedObject"]["name"] == "poisoned.1"]
    assert len([event for event in told if event["reason"] == "CrashLoop"]) == 1
    assert not [event for event in told if event["reason"] == "ColdStart" and "NoVersion" not in event["message"]]
    metrics = lab.node("n2").execute(["curl", "-s", "http://127.0.0.1:9643/metrics"]).stdout
    (line,) = [
        line for line in metrics.splitlines() if line.startswith('swarmkeep_restored_crashes_total{how="Crashed"}')
    ]
    assert float(line.split()[-1]) >= 3

    def is_told() -> bool:
        return condition(api, "workload", "greedy.1", "CrashLoop").get("status") == "True"

    wait_until("a loop of one that takes too much memory to be told", is_told, limit_s=120)
    told_now = condition(api, "workload", "greedy.1", "CrashLoop")
    # Docker does not always notice why a process was killed; memory is blamed when it did so each time.
    if told_now["reason"] == "OutOfMemory":
        assert "--limit-memory" in told_now["message"]
    else:
        found = crashes(api, "greedy.1")
        assert found["outOfMemory"] < found["inRow"]

"""Versions that are restored in isolation, and tasks that crash again and again."""

import json
from typing import Any

import pytest

from swarmkeep.agent.runtime.isolation import LABEL
from swarmlab import Lab
from swarmlab.process import wait_until
from swarmlab.workload import Api, Service, policy

FAMILY = """
import os, socket, time
listener = socket.create_server(("0.0.0.0", 7000))
open("/root/notes", "w").write("kept")
notes = open("/root/notes", "a")
if os.fork() == 0:
    while True: time.sleep(0.1)
count = 0
while True:
    count += 1
    open("/tmp/count", "w").write(str(count))
    time.sleep(0.05)
"""
"""Two processes, a socket that listens, a file that is open, and a count that goes on."""

HOMESICK = """
import socket, sys, time
alone = 0
while alone < 25:
    time.sleep(0.1)
    alone = 0 if len(socket.if_nameindex()) > 1 else alone + 1
sys.exit(3)
"""
"""Ends where it finds no network for some seconds: so its version does not live in isolation."""


def condition(api: Api, kind: str, name: str, type_: str) -> dict[str, Any]:
    found = api.get(kind, name).get("status", {}).get("conditions", [])
    return next((item for item in found if item["type"] == type_), {})


def trials(lab: Lab) -> list[str]:
    """Throw-away containers, and what they leave on disks."""
    words = ["docker", "ps", "-aq", "--filter", f"label={LABEL}"]
    left = [line for node in lab.nodes for line in node.execute(words).stdout.split()]
    for node in lab.nodes:
        left += node.execute(["sh", "-c", "ls /var/lib/swarmkeep/trials 2>/dev/null"], check=False).stdout.split()
    return left


@pytest.fixture
def family(lab: Lab, api: Api) -> Service:
    service = Service(lab, "family")
    checkpoint = {"verify": {"restoreEvery": 2}}
    api.apply(policy("family", every="4s", checkpoint=checkpoint, retention={"keepLast": 4}))
    service.create("python", "python3", "-c", FAMILY, options=["--limit-memory", "200m"])
    return service


def test_every_second_version_is_restored_in_isolation_and_touches_nothing_of_the_real_one(
    lab: Lab, api: Api, family: Service
) -> None:
    task = family.wait_running()

    def tested() -> list[dict[str, Any]]:
        seen = [item["status"].get("verified", {}) for item in api.list("checkpoints")]
        return [item["restore"] for item in seen if item.get("how") == "Restore" and "restore" in item]

    wait_until("a version to be test-restored", tested, limit_s=90)
    assert {item["result"] for item in tested()} == {"Passed"}, tested()
    assert tested()[0]["processes"] == 2
    wait_until(
        "the workload to tell",
        lambda: condition(api, "workload", "family.1", "Restorable").get("status") == "True",
        limit_s=30,
    )

    said = json.loads(api.run("doctor", "family.1", "--try", "-o", "json", check=False))["examined"][0]["findings"]
    (found,) = [finding for finding in said if finding["code"] in ("Restorable", "RestoreFailed", "CannotBeTried")]
    assert (found["code"], found["severity"]) == ("Restorable", "Note"), found
    assert "2 processes came up" in found["message"]
    assert not [item for item in api.list("checkpoints") if item["spec"].get("trial")]

    # An agent that dies amid a trial leaves it to the next one.
    newest = f"family.1-v{api.newest_version('family.1')}"
    api.run("verify", newest, "--restore", "--no-wait")
    wait_until("a trial to begin", lambda: trials(lab), limit_s=60, every_s=0.05)
    task.node.execute(["pkill", "-KILL", "-f", "[s]warmkeep agent"])

    def answered() -> bool:
        status = api.get("checkpoint", newest)["status"]
        return "requestedAt" in status.get("verified", {})

    wait_until("the next agent to do it again", answered, limit_s=90)
    assert api.get("checkpoint", newest)["status"]["verified"]["restore"]["result"] == "Passed"
    wait_until("nothing of trials to be left", lambda: not trials(lab), limit_s=60)
    assert family.wait_running().container == task.container, "the real one was touched"
    count = int(family.execute("cat", "/tmp/count"))
    wait_until("the count to go on", lambda: int(family.execute("cat", "/tmp/count") or 0) > count, limit_s=30)


def test_a_version_that_does_not_live_is_recorded_as_such_and_older_ones_go_before_it(lab: Lab, api: Api) -> None:
    service = Service(lab, "homesick")
    api.apply(policy("homesick", every="4s", checkpoint={"onStop": False}))
    service.create("python", "python3", "-c", HOMESICK)
    newest = api.wait_version("homesick.1", 2)
    api.apply(policy("homesick", every="1h", checkpoint={"onStop": False}))
    newest = max(newest, api.newest_version("homesick.1"))
    said = api.run("verify", f"homesick.1-v{newest}", "--restore", check=False)
    assert "Unrestorable" in said
    assert "exit code 3" in said
    wait_until(
        "the policy to tell",
        lambda: condition(api, "cpol", "homesick", "Degraded").get("reason") == "TestRestoreFailed",
        limit_s=30,
    )
    task = service.wait_running()
    task.node.execute(["docker", "kill", task.container])
    service.wait_running(other_than=task.container)

    def start() -> dict[str, Any]:
        found: dict[str, Any] = api.get("workload", "homesick.1")["status"].get("lastStart", {})
        return found

    wait_until("the restore to be reported", lambda: start().get("how") == "Restored", limit_s=60)
    assert start()["version"] < newest

"""Any one process may die: nothing finished is lost, and nothing stops for longer than two lease times."""

import time
from datetime import datetime
from typing import Any

import pytest

from swarmlab import Lab
from swarmlab.process import wait_until
from swarmlab.settings import API_PORT
from swarmlab.workload import Api, Redis, Writer, now, policy

LEASE_S = 4.0
"""A node's, in the lab."""
LEADER_S = 3.0
"""The leading operator's, in the lab."""


@pytest.fixture
def redis(lab: Lab, api: Api) -> Redis:
    redis = Redis(lab, "redis")
    api.apply(policy("redis", every="2s", retention={"keepLast": 50}))
    redis.create("redis", options=("--constraint", "node.hostname==n3"))
    redis.fill(20_000, 1000)
    api.wait_version("redis.1", api.newest_version("redis.1") + 1)
    return redis


def asked(name: str, workload: str) -> dict[str, Any]:
    """A Checkpoint that a user asks for."""
    return {
        "apiVersion": "swarmkeep.dev/v1alpha1",
        "kind": "Checkpoint",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"workload": workload},
    }


def versions(api: Api) -> set[int]:
    found = api.list("checkpoints", labels="swarmkeep.dev/workload=redis.1")
    return {item["status"]["version"] for item in found if item.get("status", {}).get("phase") == "Stored"}


def assert_goes_on(api: Api, redis: Redis, before: set[int], container: str) -> None:
    """Versions go on within two lease times and what it takes to take two; the old ones are all there."""
    died_at = now()
    api.wait_version("redis.1", max(before) + 2, limit_s=2 * LEASE_S + 12)
    assert redis.wait_running().container == container
    assert redis.good_keys(20_000) == 20_000
    assert before <= versions(api), f"versions were lost {now() - died_at:.0f} s after"


def leaders(lab: Lab) -> list[str]:
    """The managers whose operator says that it leads."""
    found = []
    for node in lab.managers:
        metrics = node.execute(["curl", "-sf", "--max-time", "2", "http://127.0.0.1:9642/metrics"], check=False).stdout
        if "swarmkeep_operator_leader 1.0" in metrics:
            found.append(node.name)
    return found


def test_the_leading_operator_dies(lab: Lab, api: Api, redis: Redis) -> None:
    wait_until("a leader", lambda: len(leaders(lab)) == 1, limit_s=30)
    before, container, leader = versions(api), redis.wait_running().container, leaders(lab)[0]
    lab.node(leader).execute(["pkill", "-STOP", "-f", "swarmkeep manager"])
    try:
        # Its supervisor stands still, so that one of the others has to lead.
        lab.node(leader).execute(["pkill", "-KILL", "-f", "swarmkeep operator"])
        wait_until("another leader", lambda: [name for name in leaders(lab) if name != leader], limit_s=2 * LEADER_S)
        # And it does its work: a version that a user asks for is given to a node by the operator only.
        api.apply(asked("by-the-next-leader", "redis.1"))

        def stored() -> bool:
            return bool(api.get("checkpoint", "by-the-next-leader").get("status", {}).get("phase") == "Stored")

        wait_until("the version asked for", stored, limit_s=20)
    finally:
        lab.node(leader).execute(["pkill", "-CONT", "-f", "swarmkeep manager"])
    assert_goes_on(api, redis, before, container)


@pytest.mark.parametrize("process", ["swarmkeep apiserver", "/usr/bin/etcd"])
def test_any_one_server_of_the_control_plane_dies(lab: Lab, api: Api, redis: Redis, process: str) -> None:
    before, container = versions(api), redis.wait_running().container
    writer = Writer(lab, "n1", "redis")
    writer.start()
    begun = now()
    for node in lab.managers:
        wait_until(f"all servers before {node.name} loses its own", lambda: serving(lab) == 3, limit_s=30)
        node.execute(["pkill", "-KILL", "-f", process])
        died_at = now()
        wait_until("the API to answer", api.answers, limit_s=2 * LEASE_S)
        assert now() - died_at < 2 * LEASE_S
    assert_goes_on(api, redis, before, container)
    assert writer.longest_pause(begun) < 2 * LEASE_S


def serving(lab: Lab) -> int:
    """How many API servers say that they are ready: they reach etcd, and have read it."""
    pki = "/etc/swarmkeep/pki"
    words = ["curl", "-sf", "--max-time", "2", "--cacert", f"{pki}/ca.crt", "--cert", f"{pki}/agent.crt"]
    words += ["--key", f"{pki}/agent.key"]
    done = [
        node.execute([*words, f"https://{node.address}:{API_PORT}/readyz"], check=False).returncode
        for node in lab.managers
    ]
    return done.count(0)


def test_the_agent_dies_in_the_middle_of_a_dump(lab: Lab, api: Api, redis: Redis) -> None:
    before, task = versions(api), redis.wait_running()
    for _ in range(3):
        wait_until(
            "a dump to begin",
            lambda: task.node.freezer_state(task.container) == "FROZEN",
            limit_s=20,
            every_s=0.002,
        )
        task.node.execute(["pkill", "-KILL", "-f", "swarmkeep agent"])
        wait_until(
            "the container to go on after the agent's death",
            lambda: task.node.freezer_state(task.container) == "THAWED",
            limit_s=2 * LEASE_S,
        )
        assert redis.cli("PING") == "PONG"
    assert_goes_on(api, redis, before, task.container)


# Ends the node's agent in the moment in which it has given an order to restore, before it hears how that went.
KILL_IN_RESTORE = """
before=$(ls /run/swarmkeep/restore 2>/dev/null)
while [ "$(ls /run/swarmkeep/restore 2>/dev/null)" = "$before" ]; do sleep 0.002; done
pkill -KILL -f "[s]warmkeep agent" && date +%s.%N >/tmp/killed-in-restore
"""


def test_the_agent_dies_in_the_middle_of_a_restore(lab: Lab, api: Api, redis: Redis) -> None:
    before = redis.wait_running()
    epoch = api.get("workload", "redis.1")["status"]["claim"]["epoch"]
    known = max(versions(api))
    n3 = lab.node("n3")
    n3.execute(["sh", "-c", f"rm -f /tmp/killed-in-restore; setsid sh -c '{KILL_IN_RESTORE}' >/dev/null 2>&1 &"])
    n3.execute(["docker", "kill", before.container])
    task = redis.wait_running(other_than=before.container, limit_s=60)
    killed_at = float(n3.execute(["cat", "/tmp/killed-in-restore"]).stdout)
    assert redis.good_keys(20_000) == 20_000

    def told() -> bool:
        status = api.get("workload", "redis.1")["status"]
        return bool(status["phase"] == "Running" and status.get("container", {}).get("id") == task.container)

    wait_until("the next agent to tell that it runs", told, limit_s=2 * LEASE_S + 10)
    status = api.get("workload", "redis.1")["status"]
    assert (status["lastStart"]["how"], status["lastStart"]["reason"]) == ("Restored", "Crash")
    assert status["lastStart"]["version"] >= known
    assert datetime.fromisoformat(status["lastStart"]["at"]).timestamp() > killed_at - 5
    assert status["claim"]["node"] == "n3"
    assert status["claim"]["epoch"] > epoch
    # Protected: versions of it are taken. Fenced: it stands still when the node is cut off.
    api.wait_version("redis.1", api.newest_version("redis.1") + 2)
    lab.cut("n3")
    time.sleep(LEASE_S)
    for _ in range(10):
        # Always, and not for a version only.
        assert n3.freezer_state(task.container) == "FROZEN"
        time.sleep(0.1)


def test_a_node_comes_back_from_a_power_cut_before_anybody_took_its_work(lab: Lab, api: Api, redis: Redis) -> None:
    redis.cli("SET", "here", "still")
    api.wait_version("redis.1", api.newest_version("redis.1") + 2)
    before = redis.wait_running()
    lab.kill("n3")
    time.sleep(1)
    lab.boot("n3")
    redis.wait_running(other_than=before.container, limit_s=90)
    assert redis.cli("GET", "here") == "still"
    start = api.get("workload", "redis.1")["status"]["lastStart"]
    assert (start["how"], start["reason"]) == ("Restored", "NodeLoss")


def test_the_agent_dies_when_a_final_dump_has_just_ended_the_process(lab: Lab, api: Api, redis: Redis) -> None:
    task = redis.wait_running()
    newest = api.newest_version("redis.1")
    redis.cli("SET", "last", "word")
    watch = (
        "until grep -qs 'Unfreezing tasks into 2' /var/lib/swarmkeep/staging/*/*.work/dump.log; do :; done; "
        "pkill -KILL -f 'swarmkeep [a]gent' && touch /run/agent-was-killed"
    )
    task.node.execute(["sh", "-c", 'timeout 60 sh -c "$0" >/dev/null 2>&1 &', watch])
    redis.update("--constraint-rm", "node.hostname==n3", "--constraint-add", "node.hostname==n2")
    moved = redis.wait_running(other_than=task.container)
    assert moved.node.name == "n2"
    task.node.execute(["ls", "/run/agent-was-killed"])
    assert redis.cli("GET", "last") == "word"
    assert redis.good_keys(20_000) == 20_000
    status = api.get("workload", "redis.1")["status"]
    assert (status["lastStart"]["how"], status["lastStart"]["reason"]) == ("Restored", "Reschedule")
    assert status["lastStart"]["version"] > newest
    assert status["lastEnd"]["finalVersion"] == status["lastStart"]["version"]

"""A workload moves by hand, under a client that writes: nothing acknowledged is lost, whatever happens on the way."""

import itertools
import json
from typing import Any

from swarmlab import Lab
from swarmlab.process import wait_until
from swarmlab.workload import Api, Redis, Task, Writer, join_network, now, policy

KEYS = 100_000
VALUE_BYTES = 880
"""Together some 100 MB of Redis."""


def constraints(lab: Lab, service: str) -> list[str]:
    found = lab.execute("n1", ["docker", "service", "inspect", service]).stdout
    return list(json.loads(found)[0]["Spec"]["TaskTemplate"]["Placement"].get("Constraints") or [])


def newest_migration(api: Api, workload: str) -> dict[str, Any]:
    mine = [item for item in api.list("migrations") if item["spec"]["workload"] == workload]
    return max(mine, key=lambda item: str(item["metadata"]["creationTimestamp"]))


def running(lab: Lab, service: str) -> list[Task]:
    """All running tasks, on all nodes that are on."""
    found = [(node, lab.running_container(node.name, service)) for node in lab.nodes if node.pid]
    return [Task(node, container) for node, container in found if container]


def test_a_redis_moves_with_its_state_there_and_back(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "moved")
    api.apply(policy("moved", every="1h", retention={"keepLast": 10}))
    own = "node.hostname!=n1"
    redis.create("redis", options=("--constraint", own))
    redis.fill(KEYS, VALUE_BYTES)
    join_network(lab, ["n2", "n3"])
    api.wait_claimed("moved.1")
    home = redis.wait_running().node.name
    away = "n3" if home == "n2" else "n2"
    refused = api.run("migrate", "moved.1", "--to", "n1", "--dry-run", check=False)
    assert refused == "", "what cannot be is an error, and goes to standard error"
    assert f"could go from {home} to {away}" in api.run("migrate", "moved.1", "--to", away, "--dry-run")
    assert api.list("migrations") == []
    writer = Writer(lab, "n1", "moved")
    writer.start()

    begun = now()
    for target, mode in ((away, "StopAndCopy"), (home, "PreCopy")):
        at = now()
        said = api.run("migrate", "moved.1", "--to", target, "--mode", mode)
        print(said)
        writer.first_after(now())
        assert [task.node.name for task in running(lab, "moved")] == [target]
        status = newest_migration(api, "moved.1")["status"]
        assert (status["phase"], status["runsOn"]) == ("Done", target)
        assert constraints(lab, "moved") == [own]
        start = api.get("workload", "moved.1")["status"]["lastStart"]
        assert (start["how"], start["version"]) == ("Restored", status["version"])
        print(
            f"{mode}: the client waited {writer.longest_pause(at):.2f} s, it stood still for"
            f" {status['downtimeSeconds']} s by the agents, {status['bytes'] / 1e6:.1f} MB, {status.get('rounds')}"
        )
        assert writer.longest_pause(at) < 8.0
        assert redis.good_keys(KEYS) == KEYS
        if mode == "PreCopy":
            rounds = status["rounds"]
            assert len(rounds) >= 2
            assert all(item["readyAt"] for item in rounds)
    values = [value for at, value in writer.samples() if at > begun - 1]
    assert all(later > earlier for earlier, later in itertools.pairwise(values)), "no acknowledged increment is lost"
    container = redis.wait_running().container
    redis.cli("SET", "still", "here")
    assert redis.wait_running().container == container, "taking the constraint back restarted nothing"


def test_a_plain_container_moves_with_its_state(lab: Lab, api: Api) -> None:
    selected = policy("moving-box", every="1h")
    selected["spec"]["selector"] = {"container": "box"}
    api.apply(selected)
    source = lab.node("n2")
    source.execute(["docker", "run", "--detach", "--name", "box", "--restart", "always", lab.images()["redis"]])
    api.wait_claimed("box")
    source.execute(["docker", "exec", "box", "redis-cli", "SET", "only", "in memory"])
    print(api.run("migrate", "box", "--to", "n3", "--mode", "PreCopy"))
    status = newest_migration(api, "box")["status"]
    assert (status["phase"], status["runsOn"]) == ("Done", "n3")
    start = api.get("workload", "box")["status"]["lastStart"]
    assert (start["how"], start["version"]) == ("Restored", status["version"])
    said = lab.execute("n3", ["docker", "exec", "box", "redis-cli", "GET", "only"]).stdout.strip()
    assert said == "in memory"
    print(f"the container stood still for {status['downtimeSeconds']} s")

    def is_gone() -> bool:
        return source.execute(["docker", "inspect", "box"], check=False).returncode != 0

    wait_until("the stopped copy to be removed", is_gone, limit_s=60)


def test_the_target_dies_in_the_middle_and_one_copy_runs(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "orphan")
    api.apply(policy("orphan", every="1h"))
    redis.create("redis", options=("--constraint", "node.hostname!=n1"))
    redis.fill(20_000, VALUE_BYTES)
    join_network(lab, ["n2", "n3"])
    api.wait_claimed("orphan.1")
    home = redis.wait_running()
    target = "n3" if home.node.name == "n2" else "n2"
    writer = Writer(lab, "n1", "orphan")
    writer.start()
    api.run("migrate", "orphan.1", "--to", target, "--no-wait")

    def is_being_stopped() -> bool:
        tasks = redis.tasks()
        return any(f" {target} " in line for line in tasks)

    wait_until("the Swarm to send the task there", is_being_stopped, limit_s=60, every_s=0.05)
    cut_at = now()
    lab.kill(target)
    acknowledged = writer.last_before(now())[1]

    def ended() -> bool:
        return newest_migration(api, "orphan.1").get("status", {}).get("phase") in ("Done", "Failed")

    wait_until("the migration to end", ended, limit_s=120)
    status = newest_migration(api, "orphan.1")["status"]
    answered_at, value = writer.first_after(now())
    print(f"answered {answered_at - cut_at:.2f} s after the cut: {status['message']}")
    assert status["phase"] == "Failed"
    assert target in status["failure"]
    assert status["runsOn"] == home.node.name
    copies = running(lab, "orphan")
    assert [task.node.name for task in copies] == [home.node.name]
    assert value > acknowledged
    assert redis.good_keys(20_000) == 20_000
    assert constraints(lab, "orphan") == ["node.hostname!=n1"]
    holder = api.get("workload", "orphan.1")["status"]["claim"]["node"]
    lab.boot(target)
    wait_until(
        "the node to be back",
        lambda: api.answers() and lab.execute(target, ["docker", "ps"]).returncode == 0,
        limit_s=60,
    )
    assert [task.node.name for task in running(lab, "orphan")] == [holder]

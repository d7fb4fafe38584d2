"""Any one process may die: nothing finished is lost, and nothing stops for longer than two lease times."""

import time

import pytest

from swarmlab import Lab
from swarmlab.workload import Api, Redis, now, policy

LEASE_S = 4.0


@pytest.fixture
def redis(lab: Lab, api: Api) -> Redis:
    redis = Redis(lab, "redis")
    api.apply(policy("redis", every="2s", retention={"keepLast": 50}))
    redis.create("redis", options=("--constraint", "node.hostname==n3"))
    redis.fill(20_000, 1000)
    api.wait_version("redis.1", api.newest_version("redis.1") + 1)
    return redis


def versions(api: Api) -> set[int]:
    found = api.list("checkpoints", labels="swarmkeep.dev/workload=redis.1")
    return {item["status"]["version"] for item in found if item.get("status", {}).get("phase") == "Stored"}


def assert_goes_on(api: Api, redis: Redis, before: set[int], container: str) -> None:
    """Versions go on within two lease times and what it takes to take one; the old ones are all there."""
    died_at = now()
    api.wait_version("redis.1", max(before) + 2, limit_s=2 * LEASE_S + 12)
    assert redis.wait_running().container == container
    assert redis.good_keys(20_000) == 20_000
    assert before <= versions(api), f"versions were lost {now() - died_at:.0f} s after"


@pytest.mark.parametrize("process", ["swarmkeep operator", "swarmkeep apiserver", "/usr/bin/etcd"])
def test_a_process_of_the_control_plane_dies(lab: Lab, api: Api, redis: Redis, process: str) -> None:
    before, container = versions(api), redis.wait_running().container
    for node in lab.managers:
        # One after the other, each where it is: the leader is among them.
        node.execute(["pkill", "-KILL", "-f", process])
        time.sleep(1.0)
        deadline = now() + 2 * LEASE_S + 10
        while not api.answers() and now() < deadline:
            time.sleep(0.2)
    assert_goes_on(api, redis, before, container)


def test_the_agent_dies_in_the_middle_of_a_dump(lab: Lab, api: Api, redis: Redis) -> None:
    before, task = versions(api), redis.wait_running()
    for _ in range(3):
        deadline = now() + 20
        while task.node.freezer_state(task.container) != "FROZEN" and now() < deadline:
            time.sleep(0.005)
        task.node.execute(["pkill", "-KILL", "-f", "swarmkeep agent"])
        thawed_by = now() + 2 * LEASE_S
        while task.node.freezer_state(task.container) != "THAWED":
            assert now() < thawed_by, "the container stood still after the agent's death"
            time.sleep(0.05)
        assert redis.cli("PING") == "PONG"
    assert_goes_on(api, redis, before, task.container)


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

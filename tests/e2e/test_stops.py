"""Ways in which people stop a service: a node that is shut down carries the state along, a change starts fresh."""

import pytest

from swarmlab import Lab
from swarmlab.process import wait_until
from swarmlab.workload import Api, Redis, join_network, policy


def last_start(api: Api, workload: str) -> tuple[str, str]:
    start = api.get("workload", workload)["status"]["lastStart"]
    return start["how"], start["reason"]


def test_a_clean_shutdown_of_a_node_carries_the_last_write_along(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "clean")
    api.apply(policy("clean", every="1h"))
    redis.create("redis", options=("--constraint", "node.hostname!=n1"))
    redis.fill(1000, 100)
    join_network(lab, ["n2", "n3"])
    api.wait_claimed("clean.1")
    redis.cli("SET", "last", "word")
    home = redis.wait_running()
    # As systemd does it: Docker is stopped, and with it its containers, before the rest of the node goes.
    home.node.execute(["sv", "-w", "40", "down", "/etc/lab/service/dockerd"], limit_s=60)
    lab.kill(home.node.name)
    redis.wait_running(other_than=home.container, limit_s=90)
    assert redis.cli("GET", "last") == "word"
    assert redis.good_keys(1000) == 1000
    assert last_start(api, "clean.1")[0] == "Restored"


@pytest.mark.parametrize("change", [("--env-add", "COLOUR=blue"), ("--image", "python")])
def test_another_environment_or_image_starts_fresh(lab: Lab, api: Api, change: tuple[str, str]) -> None:
    redis = Redis(lab, "changed")
    api.apply(policy("changed", every="1h"))
    redis.create("redis", "sh", "-c", "sleep infinity")
    api.wait_claimed("changed.1")
    before = redis.wait_running()
    option, value = change
    redis.update("--no-resolve-image", option, lab.image(value) if option == "--image" else value)
    redis.wait_running(other_than=before.container)
    wait_until("the start to be told", lambda: last_start(api, "changed.1") == ("Fresh", "SpecChanged"), limit_s=30)

"""Ways in which people stop a service: a node that is shut down carries the state along, a change starts fresh."""

import pytest

from swarmlab import Lab
from swarmlab.process import wait_until
from swarmlab.workload import Api, Redis, Writer, availability, join_network, now, policy

KEYS = 700_000
VALUE_BYTES = 880
"""Together some 700 MB of Redis."""


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


def test_a_drain_of_700_mb_to_a_warm_node_pauses_its_clients_for_a_moment(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "large")
    api.apply(policy("large", every="5s", restore={"warmStandby": 1}, retention={"keepLast": 2}))
    redis.create("redis", options=("--constraint", "node.hostname!=n1"))
    redis.fill(KEYS, VALUE_BYTES)
    join_network(lab, ["n2", "n3"])
    home = redis.wait_running()
    other = "n3" if home.node.name == "n2" else "n2"
    writer = Writer(lab, "n1", "large")
    writer.start()

    def warm() -> bool:
        standbys = api.get("node", other, "").get("status", {}).get("standbys", [])
        version = next((item.get("version", 0) for item in standbys if item["workload"] == "default/large.1"), 0)
        return version >= api.newest_version("large.1") - 1 > 1

    wait_until("the standby to have a version with all the keys", warm, limit_s=120)
    drained_at = now()
    availability(lab, **{home.node.name: "drain"})
    redis.wait_running(other_than=home.container, limit_s=90)
    writer.first_after(now())
    pause_s = writer.longest_pause(drained_at)
    print(f"a drain of 700 MB to a warm node paused its client for {pause_s:.2f} s")
    values = [value for at, value in writer.samples() if at > drained_at - 1]
    assert values == sorted(set(values))
    assert redis.good_keys(KEYS) == KEYS
    assert last_start(api, "large.1") == ("Restored", "Reschedule")
    # A loaded machine takes longer than the 3 s of a quiet one.
    assert pause_s < 30

"""At most one running copy, whatever happens to the network."""

import time

from swarmlab import Lab
from swarmlab.workload import Api, Redis, Writer, join_network, now, policy


def test_a_partitioned_copy_is_frozen_before_another_starts_and_ended_when_the_network_is_back(
    lab: Lab, api: Api
) -> None:
    redis = Redis(lab, "fenced")
    api.apply(policy("fenced", every="2s"))
    redis.create("redis", options=("--constraint", "node.hostname!=n1"))
    join_network(lab, ["n2", "n3"])
    writer = Writer(lab, "n1", "fenced")
    writer.start()
    api.wait_version("fenced.1", 2)
    home = redis.wait_running()

    lab.cut(home.node.name)
    cut_at = now()
    frozen_at = None
    moved = None
    # Looked at from outside, on one clock: when did the old copy stand still, when was there a new one?
    while moved is None and now() - cut_at < 30:
        if frozen_at is None and home.node.freezer_state(home.container) == "FROZEN":
            frozen_at = now()
        for node in lab.nodes:
            if node.name != home.node.name:
                moved = moved or lab.running_container(node.name, "fenced")
        time.sleep(0.02)
    assert moved is not None, "the Swarm did not start the task elsewhere"
    assert frozen_at is not None, "the cut-off copy was never frozen"
    writer.first_after(cut_at + 1)
    claim = api.get("workload", "fenced.1")["status"]["claim"]
    assert claim["node"] != home.node.name

    lab.mend(home.node.name)
    deadline = now() + 30
    while home.node.is_container_running(home.container) and now() < deadline:
        # Until it is gone it must not run.
        assert not home.node.may_run(home.container)
        time.sleep(0.02)
    assert not home.node.is_container_running(home.container)
    assert api.get("workload", "fenced.1")["status"]["claim"] == claim


def test_a_short_outage_of_the_control_plane_costs_a_pause_and_not_the_process(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "paused")
    api.apply(policy("paused", every="2s"))
    redis.create("redis", options=("--constraint", "node.hostname==n3"))
    api.wait_version("paused.1", 1)
    home = redis.wait_running()
    for node in lab.managers:
        node.execute(["sv", "down", "/etc/lab/service/manager"])
    try:
        deadline = now() + 15
        while home.node.freezer_state(home.container) != "FROZEN" and now() < deadline:
            time.sleep(0.1)
        assert home.node.freezer_state(home.container) == "FROZEN"
    finally:
        for node in lab.managers:
            node.execute(["sv", "up", "/etc/lab/service/manager"])
    deadline = now() + 30
    while home.node.freezer_state(home.container) != "THAWED" and now() < deadline:
        time.sleep(0.1)
    assert redis.cli("PING") == "PONG"
    assert redis.wait_running().container == home.container
    # Versions go on, under the same claim.
    newest = api.newest_version("paused.1")
    api.wait_version("paused.1", newest + 1)

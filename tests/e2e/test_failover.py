"""The main job: a service survives the loss of its node, with its memory."""

import itertools
from datetime import datetime

import pytest

from swarmlab import Lab
from swarmlab.workload import Api, Redis, Writer, availability, join_network, now, policy

KEYS = 700_000
VALUE_BYTES = 880
"""Together some 700 MB of Redis."""


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.timeout(400)
def test_a_redis_of_700_mb_goes_on_elsewhere_when_its_node_loses_power(lab: Lab, api: Api) -> None:
    redis, plain = Redis(lab, "redis"), Redis(lab, "plain")
    api.apply(policy("redis", every="5s", retention={"keepLast": 3}))
    not_n1 = ("--constraint", "node.hostname!=n1")
    redis.create("redis", options=not_n1)
    redis.fill(KEYS, VALUE_BYTES)
    task = redis.wait_running()
    home = task.node.name
    lab.execute("n1", ["docker", "node", "update", "--label-add", "plain=yes", home])
    plain.create("redis", options=("--constraint", "node.labels.plain==yes"))
    plain.cli("SET", "only", "in memory")
    for name in {"n2", "n3"} - {home}:
        lab.execute("n1", ["docker", "node", "update", "--label-add", "plain=yes", name])
    join_network(lab, ["n2", "n3"])
    writer = Writer(lab, "n1", "redis")
    writer.start()
    api.wait_version("redis.1", api.newest_version("redis.1") + 2, limit_s=120)

    cut_at = now()
    lab.kill(home)
    answered_at, value = writer.first_after(cut_at + 0.2)
    # The version that was finished last before the cut; one in flight may or may not have made it.
    task = redis.wait_running()
    stored = [
        item["status"]
        for item in api.list("checkpoints", labels="swarmkeep.dev/workload=redis.1")
        if item["status"].get("phase") == "Stored" and moment(item["status"]["storedAt"]) < cut_at
    ]
    newest = max(stored, key=lambda status: int(status["version"]))
    assert task.node.name != home
    assert value >= writer.last_before(moment(newest["takenAt"]))[1]
    start = api.get("workload", "redis.1")["status"]["lastStart"]
    assert (start["how"], start["reason"]) == ("Restored", "NodeLoss")
    assert start["version"] >= newest["version"]
    assert redis.good_keys(KEYS) == KEYS
    assert answered_at - cut_at < 6.0

    # A service that no policy selects starts fresh elsewhere, as ever.
    assert plain.wait_running().node.name != home
    assert plain.cli("GET", "only") == ""
    assert not [item for item in api.list("workloads") if item["metadata"]["name"].startswith("plain")]


def test_files_of_the_writable_layer_come_along_deletions_too(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "files")
    api.apply(policy("files", every="2s"))
    redis.create("redis", options=("--constraint", "node.hostname!=n1"))
    redis.execute("sh", "-c", "echo kept > /srv/made && chmod 640 /srv/made && rm /etc/issue && mkdir /opt/d")
    join_network(lab, ["n2", "n3"])
    api.wait_version("files.1", api.newest_version("files.1") + 2)
    home = redis.wait_running()
    lab.kill(home.node.name)
    redis.wait_running(other_than=home.container)
    assert redis.execute("sh", "-c", "cat /srv/made; stat -c %a /srv/made; ls -d /opt/d") == "kept\n640\n/opt/d"
    assert redis.execute("sh", "-c", "test -e /etc/issue || echo gone") == "gone"


def test_a_forced_update_starts_fresh_as_the_user_means_it(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "forced")
    api.apply(policy("forced", every="2s"))
    redis.create("redis")
    redis.cli("SET", "old", "state")
    api.wait_version("forced.1", 2)
    before = redis.wait_running().container
    redis.update("--force")
    redis.wait_running(other_than=before)
    assert redis.cli("GET", "old") == ""
    start = api.get("workload", "forced.1")["status"]["lastStart"]
    assert (start["how"], start["reason"]) == ("Fresh", "SpecChanged")


def test_draining_a_node_loses_no_acknowledged_write(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "drained")
    api.apply(policy("drained", every="1h"))
    redis.create("redis", options=("--constraint", "node.hostname!=n1"))
    join_network(lab, ["n2", "n3"])
    api.wait_claimed("drained.1")
    writer = Writer(lab, "n1", "drained")
    writer.start()
    home = redis.wait_running()
    drained_at = now()
    availability(lab, **{home.node.name: "drain"})
    moved = redis.wait_running(other_than=home.container)
    writer.first_after(now())
    values = [value for at, value in writer.samples() if at > drained_at - 1]
    assert moved.node.name != home.node.name
    assert values == sorted(values)
    assert all(later > earlier for earlier, later in itertools.pairwise(values))
    start = api.get("workload", "drained.1")["status"]["lastStart"]
    assert (start["how"], start["reason"]) == ("Restored", "Reschedule")

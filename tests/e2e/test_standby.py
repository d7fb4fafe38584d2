"""A warm standby: after a power cut the task goes on from what its node has ready, without one pack being read."""

from swarmlab import Lab
from swarmlab.process import wait_until
from swarmlab.workload import Api, Redis, Writer, join_network, now, policy

KEYS = 60_000
VALUE_BYTES = 880
"""Together some 60 MB of Redis."""


def ready(api: Api, node: str, workload: str) -> int:
    for item in api.get("node", node).get("status", {}).get("standbys", []):
        if item["workload"] == workload:
            return int(item.get("version", 0))
    return 0


def condition(api: Api, name: str, type_: str) -> str:
    conditions = api.get("workload", name).get("status", {}).get("conditions", [])
    return next((str(item["status"]) for item in conditions if item["type"] == type_), "")


def test_a_power_cut_is_survived_from_the_standbys_cache(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "warm")
    api.apply(policy("warm", every="3s", restore={"warmStandby": 1}, retention={"keepLast": 3}))
    redis.create("redis", options=("--constraint", "node.hostname!=n1"))
    redis.fill(KEYS, VALUE_BYTES)
    join_network(lab, ["n2", "n3"])
    home = redis.wait_running()
    other = "n3" if home.node.name == "n2" else "n2"
    wait_until("the standby to be ready", lambda: condition(api, "warm.1", "Standby") == "True", limit_s=60)
    assert api.get("workload", "warm.1")["status"]["standby"] == {"node": other}
    first = ready(api, other, "default/warm.1")
    wait_until("it to follow", lambda: ready(api, other, "default/warm.1") > first + 1, limit_s=60)

    # No more versions, and none of what was stored can be read but the manifests.
    api.apply(policy("warm", every="1h", restore={"warmStandby": 1}, retention={"keepLast": 3}))
    writer = Writer(lab, "n1", "warm")
    writer.start()
    wait_until(
        "the standby to have the newest",
        lambda: ready(api, other, "default/warm.1") == api.newest_version("warm.1"),
        limit_s=30,
    )
    newest = api.newest_version("warm.1")
    packs = lab.settings.shared / "swarmkeep/packs/default/warm.1"
    away = packs.with_name("warm.1-away")
    packs.rename(away)
    try:
        cut_at = now()
        lab.kill(home.node.name)
        answered_at, _ = writer.first_after(cut_at + 0.2)
        task = redis.wait_running(other_than=home.container)
    finally:
        away.rename(packs)
    print(f"answered {answered_at - cut_at:.2f} s after the power cut, with no pack to read")
    assert task.node.name == other
    start = api.get("workload", "warm.1")["status"]["lastStart"]
    assert (start["how"], start["reason"], start["version"]) == ("Restored", "NodeLoss", newest)
    assert redis.good_keys(KEYS) == KEYS
    assert answered_at - cut_at < 8.0

"""A node that has a version ready reads nothing from storage."""

from swarmlab import Lab
from swarmlab.process import wait_until
from swarmlab.workload import Api, Redis, policy


def reads(lab: Lab, node: str, result: str) -> float:
    text = lab.execute(node, ["curl", "-sf", "http://127.0.0.1:9643/metrics"]).stdout
    wanted = f'swarmkeep_cache_reads_total{{result="{result}"}} '
    return next((float(line.removeprefix(wanted)) for line in text.splitlines() if line.startswith(wanted)), 0.0)


def test_a_crashed_task_goes_on_from_the_cache_and_a_damaged_cache_is_read_again(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "cached")
    api.apply(policy("cached", every="1h"))
    redis.create("redis", options=("--constraint", "node.hostname==n2"))
    redis.fill(5_000, 1000)
    wanted = {
        "apiVersion": "swarmkeep.dev/v1alpha1",
        "kind": "Checkpoint",
        "metadata": {"name": "cached-now", "namespace": "default"},
        "spec": {"workload": "cached.1"},
    }
    api.wait_claimed("cached.1")
    api.apply(wanted)
    number = api.wait_version("cached.1", 1)
    images = lab.node("n2").execute(["ls", "/var/lib/swarmkeep/images/default_cached.1"]).stdout
    assert f"v{number}.whole" in images

    found = reads(lab, "n2", "found")
    home = redis.wait_running()
    packs = lab.settings.shared / "swarmkeep/packs/default/cached.1"
    away = packs.with_name("cached.1-away")
    packs.rename(away)
    try:
        lab.execute("n2", ["docker", "kill", "--signal", "KILL", home.container])
        home = redis.wait_running(other_than=home.container, limit_s=90)
    finally:
        away.rename(packs)
    assert redis.good_keys(5_000) == 5_000
    assert reads(lab, "n2", "found") > found

    reading = ["sh", "-c", "ls /run/swarmkeep/restore/*/lazy-pages.pid"]
    wait_until("all pages to be read", lambda: lab.node("n2").execute(reading, check=False).returncode != 0, limit_s=30)
    pages = f"/var/lib/swarmkeep/images/default_cached.1/v{number}/image/pages-*"
    lab.execute("n2", ["sh", "-c", f"truncate -s 4096 {pages}"])
    lab.execute("n2", ["docker", "kill", "--signal", "KILL", home.container])
    redis.wait_running(other_than=home.container, limit_s=90)
    assert redis.good_keys(5_000) == 5_000
    assert reads(lab, "n2", "damaged") == 1
    start = api.get("workload", "cached.1")["status"]["lastStart"]
    assert (start["how"], start["version"]) == ("Restored", number)

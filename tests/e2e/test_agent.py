"""What users meet around the main job: versions on demand, pruning, deletion, trouble that is told in their words."""

import pytest

from swarmlab import Lab, LabError
from swarmlab.process import wait_until
from swarmlab.workload import Api, Redis, Service, policy

RESTING = "swarmkeep.dev/workload=resting.1"


def stored(api: Api, workload: str) -> list[int]:
    found = api.list("checkpoints", labels=f"swarmkeep.dev/workload={workload}")
    return sorted(item["status"]["version"] for item in found if item.get("status", {}).get("phase") == "Stored")


def condition(api: Api, kind: str, name: str, type_: str) -> dict[str, str]:
    conditions: list[dict[str, str]] = api.get(kind, name).get("status", {}).get("conditions", [])
    return next((item for item in conditions if item["type"] == type_), {})


def test_only_the_newest_versions_are_kept_and_the_bytes_of_the_others_go(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "pruned")
    api.apply(policy("pruned", every="1s", retention={"keepLast": 2}))
    redis.create("redis")
    newest = api.wait_version("pruned.1", 6)

    def pruned() -> bool:
        numbers = stored(api, "pruned.1")
        return len(numbers) <= 4 and min(numbers) > newest - 3

    wait_until("old versions to be pruned", pruned, limit_s=60)
    folder = lab.settings.shared / "swarmkeep"
    blobs = [path for path in folder.rglob("*") if path.is_file() and "pruned" in str(path)]
    # A manifest and a data blob for each version that is left, and for those on their way in or out.
    assert 2 <= len(blobs) <= 2 * 6


def test_a_stopped_workload_keeps_its_versions_until_somebody_prunes_it_and_goes_on_from_the_newest(
    lab: Lab, api: Api
) -> None:
    redis = Redis(lab, "resting")
    api.apply(policy("resting", every="2s", retention={"keepLast": 50}))
    redis.create("redis")
    redis.fill(1000, 100)
    api.wait_version("resting.1", api.newest_version("resting.1") + 3)
    redis.cli("SET", "last", "word")
    redis.update("--replicas", "0")
    wait_until(
        "the workload to be stopped",
        lambda: api.get("workload", "resting.1")["status"]["phase"] == "Stopped",
        limit_s=60,
    )
    newest = api.newest_version("resting.1")
    before = stored(api, "resting.1")
    assert len(before) >= 3
    api.apply(policy("resting", every="2s", retention={"keepLast": 1}))
    shown = api.run("prune", "resting", "--dry-run")
    assert shown.count("  hold  ") == len(before) - 1
    api.run("prune", "resting")
    assert stored(api, "resting.1") == before
    api.run("prune", "resting", "--stopped")
    wait_until("the others to go", lambda: len(api.list("checkpoints", labels=RESTING)) == 1, limit_s=60)
    assert stored(api, "resting.1") == [newest]
    folder = lab.settings.shared / "swarmkeep/manifests/default/resting.1"
    assert [path.name for path in folder.iterdir()] == [f"{newest:09}"]
    redis.update("--replicas", "1")
    redis.wait_running()
    assert redis.cli("GET", "last") == "word"
    assert redis.good_keys(1000) == 1000


def test_a_version_is_taken_on_demand_and_deleted_with_its_data(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "asked")
    api.apply(policy("asked", every="1h"))
    redis.create("redis")
    api.wait_claimed("asked.1")
    wanted = {
        "apiVersion": "swarmkeep.dev/v1alpha1",
        "kind": "Checkpoint",
        "metadata": {"name": "before-upgrade", "namespace": "default"},
        "spec": {"workload": "asked.1"},
    }
    api.apply(wanted)

    def phase() -> str:
        return str(api.get("checkpoint", "before-upgrade").get("status", {}).get("phase"))

    wait_until("the version that was asked for", lambda: phase() == "Stored", limit_s=40)
    api.run("delete", "checkpoint", "before-upgrade", "--timeout", "40s")
    with pytest.raises(LabError, match="not found"):
        api.get("checkpoint", "before-upgrade")
    folder = lab.settings.shared / "swarmkeep"
    assert not [path for path in folder.rglob("*") if path.is_file() and "asked" in str(path)]


def test_a_container_that_cannot_be_dumped_says_why_and_stops_no_other(lab: Lab, api: Api) -> None:
    odd, redis = Service(lab, "odd"), Redis(lab, "beside")
    api.apply(policy("odd", every="2s"), policy("beside", every="2s"))
    node = ("--constraint", "node.hostname==n2")
    # A socket of the family AF_XDP, which CRIU does not know.
    program = "import socket, time; s = socket.socket(44, socket.SOCK_RAW); time.sleep(1e6)"
    odd.create("python", "python3", "-c", program, options=node)
    redis.create("redis", options=node)

    def failed() -> bool:
        return "lastFailure" in api.get("workload", "odd.1").get("status", {})

    wait_until("the failure to be told", failed, limit_s=60)
    failure = api.get("workload", "odd.1")["status"]["lastFailure"]
    assert failure["reason"] == "DumpFailed"
    assert "socket" in failure["message"].lower()
    wait_until(
        "the policy to say that it is degraded",
        lambda: condition(api, "checkpointpolicy", "odd", "Degraded").get("status") == "True",
        limit_s=30,
    )
    api.wait_version("beside.1", api.newest_version("beside.1") + 2)


def test_storage_that_vanishes_is_told_and_versions_go_on_when_it_is_back(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "vanishing")
    api.apply(policy("vanishing", every="2s"))
    redis.create("redis")
    before = api.wait_version("vanishing.1", 1)
    folder = lab.settings.shared / "swarmkeep"
    away = folder.with_name("away")
    folder.rename(away)
    try:
        # What an unmounted share looks like: an empty folder in its place must not be taken for the location.
        folder.mkdir()
        wait_until(
            "the location to be reported as unreachable",
            lambda: condition(api, "storagelocation", "main", "Reachable").get("status") == "False",
            limit_s=40,
        )
        wait_until(
            "the failing versions to be told",
            lambda: "lastFailure" in api.get("workload", "vanishing.1")["status"],
            limit_s=40,
        )
        assert redis.cli("PING") == "PONG"
        assert not list(folder.iterdir())
    finally:
        folder.rmdir()
        away.rename(folder)
    api.wait_version("vanishing.1", before + 1, limit_s=90)


def test_with_the_agent_down_others_start_as_ever_and_protected_tasks_are_held(lab: Lab, api: Api) -> None:
    api.apply(policy("held", every="1h", restore={"holdLimit": "3s"}))
    redis = Redis(lab, "held")
    redis.create("redis", options=("--constraint", "node.hostname==n2"))
    api.wait_claimed("held.1")
    lab.execute("n2", ["sv", "down", "/etc/lab/service/agent"])
    try:
        plain = Service(lab, "other")
        plain.create("shell", "sleep", "infinity", options=("--constraint", "node.hostname==n2"))
        redis.update("--force")
        wait_until(
            "the protected task to be refused with a reason",
            lambda: any("agent" in line for line in redis.tasks()),
            limit_s=60,
        )
    finally:
        lab.execute("n2", ["sv", "up", "/etc/lab/service/agent"])
    redis.wait_running(limit_s=60)


def test_metrics_tell_what_happened(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "measured")
    api.apply(policy("measured", every="1s"))
    redis.create("redis", options=("--constraint", "node.hostname==n2"))
    api.wait_version("measured.1", 2)
    agent = lab.execute("n2", ["curl", "-sf", "http://127.0.0.1:9643/metrics"]).stdout
    assert 'swarmkeep_versions_total{reason="Schedule",result="stored"}' in agent
    assert 'swarmkeep_newest_version_timestamp_seconds{namespace="default",workload="measured.1"}' in agent
    assert 'swarmkeep_cold_starts_total{reason="NoVersion"}' in agent
    assert number(agent, 'swarmkeep_frozen_seconds_count{reason="Schedule"}') >= 2
    assert number(agent, 'swarmkeep_version_bytes_total{kind="memory"}') > 1e6
    assert number(agent, "swarmkeep_lease_age_seconds") < 4
    leaders = 0
    for node in lab.managers:
        operator = node.execute(["curl", "-sf", "http://127.0.0.1:9642/metrics"], check=False).stdout
        leaders += "swarmkeep_operator_leader 1.0" in operator
        if "swarmkeep_operator_leader 1.0" in operator:
            assert number(operator, "swarmkeep_operator_queue_depth") < 100
            measured = 'swarmkeep_workload_version_age_seconds{namespace="default",workload="measured.1"}'
            assert number(operator, measured) < 20
        server = node.execute(["curl", "-sf", "http://127.0.0.1:9641/metrics"]).stdout
        assert 'code="200"' in server[server.index("swarmkeep_api_requests_total{") :]
    assert leaders == 1


def number(metrics: str, name: str) -> float:
    """The value of one sample."""
    return float(next(line for line in metrics.splitlines() if line.startswith(name + " ")).rpartition(" ")[2])

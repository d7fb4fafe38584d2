"""Back to a version, to a time, to nothing, and back again: a real Redis shows which state it has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from swarmkeep.model.wire import format_time
from swarmlab import Lab
from swarmlab.process import wait_until
from swarmlab.workload import Api, Redis, policy

from .test_deaths import asked

WORKLOAD = "undone.1"


def version(api: Api, redis: Redis, name: str, state: str) -> int:
    """Writes the state and has a version of it taken; returns its number."""
    redis.cli("SET", "state", state)
    api.apply(asked(name, WORKLOAD))

    def stored() -> bool:
        return bool(api.get("checkpoint", name).get("status", {}).get("phase") == "Stored")

    wait_until(f"the version of {state}", stored, limit_s=40)
    return int(api.get("checkpoint", name)["status"]["version"])


def restore(api: Api) -> dict[str, Any]:
    """The status of the newest Restore."""
    newest = max(api.list("restores"), key=lambda obj: str(obj["metadata"]["creationTimestamp"]))
    found: dict[str, Any] = newest["status"]
    return found


@pytest.mark.timeout(400)
def test_a_redis_goes_back_to_a_version_to_a_time_and_to_nothing(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "undone")
    api.apply(policy("undone", every="1h", retention={"keepLast": 50}))
    redis.create("redis")
    api.wait_claimed(WORKLOAD)
    one = version(api, redis, "undone-one", "one")
    two = version(api, redis, "undone-two", "two")
    between = format_time(datetime.now(UTC))
    redis.cli("SET", "state", "three, of no version yet")

    # To a version. What there was until then is kept in a last version, which nobody had asked for.
    said = api.run("rollback", WORKLOAD, "--to", f"v{one}", "--dry-run")
    assert f"version {one}, taken" in said
    assert redis.cli("GET", "state") == "three, of no version yet"
    before = redis.wait_running()
    said = api.run("rollback", WORKLOAD, "--to", f"v{one}", "--timeout", "50s")
    assert f"came up from version {one} on" in said
    redis.wait_running(other_than=before.container)
    assert redis.cli("GET", "state") == "one"
    done = restore(api)
    kept = done["keptVersion"]
    assert (done["phase"], done["version"]) == ("Done", one)
    assert kept > two
    status = api.get("workload", WORKLOAD)["status"]
    assert (status["lastStart"]["reason"], status["lastEnd"]["finalVersion"]) == ("Rollback", kept)
    assert "order" not in status

    # It dies before its first version: it comes back as it was brought back, not as it was before.
    before = redis.wait_running()
    before.node.execute(["docker", "kill", before.container])
    redis.wait_running(other_than=before.container)
    assert redis.cli("GET", "state") == "one"

    # To a time, with the state of another branch by now.
    version(api, redis, "undone-four", "four")
    api.run("rollback", WORKLOAD, "--to-time", between, "--timeout", "50s")
    assert redis.cli("GET", "state") == "two"

    # The first rollback is taken back: the state that no version had been asked for.
    api.run("rollback", WORKLOAD, "--to", str(kept), "--timeout", "50s")
    assert redis.cli("GET", "state") == "three, of no version yet"

    # To nothing, on purpose; nothing is lost, and nothing comes back by itself.
    api.run("forget", WORKLOAD, "--now", "--timeout", "50s")
    assert redis.cli("GET", "state") == ""
    before = redis.wait_running()
    before.node.execute(["docker", "kill", before.container])
    redis.wait_running(other_than=before.container)
    assert redis.cli("DBSIZE") == "0"
    api.run("rollback", WORKLOAD, "--to", f"v{two}", "--discard-current", "--timeout", "50s")
    assert redis.cli("GET", "state") == "two"

    told = api.run("history", WORKLOAD)
    assert told.count("Rollback") >= 4
    assert "Forgotten" in told
    starts = api.get("workload", WORKLOAD)["status"]["starts"]
    assert len({item["order"] for item in starts if item.get("obeyed")}) == 5, starts
    assert sum(item["reason"] == "Forgotten" for item in starts) == 2, starts


def test_nothing_is_stopped_for_a_service_that_swarm_would_not_start_again(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "undone")
    api.apply(policy("undone", every="1h"))
    redis.create("redis", options=("--restart-condition", "none"))
    api.wait_claimed(WORKLOAD)
    number = version(api, redis, "undone-none", "kept")
    before = redis.wait_running()
    api.run("rollback", WORKLOAD, "--to", str(number), "--timeout", "30s", check=False)
    assert "restart-condition none" in restore(api)["message"]
    assert redis.wait_running().container == before.container
    assert redis.cli("GET", "state") == "kept"

"""Versions in two locations: copied in the background, restored from whichever is there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.repository import Repository
from swarmlab import Lab
from swarmlab.process import wait_until
from swarmlab.workload import Api, Redis, join_network, now, policy


@pytest.fixture
def offsite(lab: Lab, api: Api) -> Iterator[Path]:
    """A second StorageLocation, `offsite`; gives its folder."""
    folder = lab.settings.shared / "offsite"
    folder.mkdir(exist_ok=True)
    api.apply(
        {
            "apiVersion": "swarmkeep.dev/v1alpha1",
            "kind": "StorageLocation",
            "metadata": {"name": "offsite"},
            "spec": {"filesystem": {"path": "/shared/offsite"}},
        }
    )
    yield folder
    api.run("delete", "checkpointpolicy", "twice", check=False)
    api.run("delete", "checkpoints", "-l", "swarmkeep.dev/workload=twice.1", "--timeout", "40s", check=False)
    api.run("delete", "storagelocation", "offsite", check=False)


def flip(location: Path, workload: str, number: int) -> None:
    """One byte of a pack of that version."""
    pack = Repository.open(LocalBlobStore(location), create=False).manifest(workload, number).packs[-1]
    path = location / "packs" / workload / pack.name
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


def copies(api: Api, workload: str) -> dict[int, tuple[str, dict[str, str]]]:
    """Phase and state in each location, by version."""
    found: dict[int, tuple[str, dict[str, str]]] = {}
    for item in api.list("checkpoints", labels=f"swarmkeep.dev/workload={workload}"):
        status: dict[str, Any] = item.get("status", {})
        if "version" in status:
            states = {entry["name"]: entry["state"] for entry in status.get("locations", [])}
            found[status["version"]] = (status["phase"], states)
    return found


def condition(api: Api, name: str, type_: str) -> tuple[str, str]:
    conditions = api.get("checkpointpolicy", name).get("status", {}).get("conditions", [])
    found: dict[str, str] = next((item for item in conditions if item["type"] == type_), {})
    return str(found.get("status")), str(found.get("reason"))


def test_versions_reach_both_locations_and_a_restore_takes_the_one_that_is_left(
    lab: Lab, api: Api, offsite: Path
) -> None:
    redis = Redis(lab, "twice")
    api.apply(policy("twice", every="3s", storage=["main", "offsite"], retention={"keepLast": 3}))
    redis.create("redis", options=("--constraint", "node.hostname!=n1"))
    redis.fill(5_000, 1000)
    join_network(lab, ["n2", "n3"])
    first = api.wait_version("twice.1", api.newest_version("twice.1") + 1)
    both = {"main": "Stored", "offsite": "Stored"}

    def replicated() -> bool:
        return any(number >= first and it == ("Replicated", both) for number, it in copies(api, "twice.1").items())

    wait_until("a version in both locations", replicated, limit_s=40)
    wait_until("the policy to say so", lambda: condition(api, "twice", "Replicated")[0] == "True", limit_s=20)

    # The second location vanishes: versions go on, and the policy says who is behind.
    away = offsite.with_name("offsite-away")
    offsite.rename(away)
    offsite.mkdir()
    before = api.newest_version("twice.1")
    wait_until(
        "the policy to be degraded",
        lambda: condition(api, "twice", "Degraded") == ("True", "ReplicationBehind"),
        limit_s=40,
    )
    api.wait_version("twice.1", before + 2)
    assert redis.cli("PING") == "PONG"
    offsite.rmdir()
    away.rename(offsite)
    wait_until("it to catch up", lambda: condition(api, "twice", "Degraded")[0] == "False", limit_s=60)

    # Pruned versions leave both.
    wait_until("the first versions to be pruned", lambda: min(copies(api, "twice.1")) > 1, limit_s=60)

    def manifests(folder: Path) -> set[int]:
        return {int(path.name) for path in folder.glob("manifests/default/twice.1/*")}

    main = lab.settings.shared / "swarmkeep"
    wait_until("both to have only what is kept", lambda: 1 not in manifests(main) | manifests(offsite), limit_s=30)

    api.apply(policy("twice", every="1h", storage=["main", "offsite"], retention={"keepLast": 3}))
    newest = api.newest_version("twice.1")
    wait_until("the newest to be replicated", lambda: copies(api, "twice.1")[newest][0] == "Replicated", limit_s=30)

    # The first location has wrong bytes: the restore reads on from the second, and what was wrong is written again.
    home = redis.wait_running()
    flip(main, "default/twice.1", newest)
    crash = "rm -rf /var/lib/swarmkeep/images/default_twice.1; kill -9 $(docker inspect -f '{{.State.Pid}}' "
    home.node.execute(["sh", "-c", f"{crash}{home.container})"])
    home = redis.wait_running(other_than=home.container)
    assert redis.good_keys(5_000) == 5_000

    def last_start() -> dict[str, Any]:
        found: dict[str, Any] = api.get("workload", "twice.1")["status"]["lastStart"]
        return found

    wait_until("the start to be reported", lambda: last_start().get("wrongIn") == ["main"], limit_s=40)
    assert (last_start()["how"], last_start()["version"]) == ("Restored", newest)
    assert "failedRestores" not in api.get("workload", "twice.1")["status"]
    said = api.run("verify", f"twice.1-v{newest}")
    assert "Repaired" in said
    assert "main: Full" in said
    assert Repository.open(LocalBlobStore(main), create=False).verify("default/twice.1", newest) == ()

    # The first location is lost together with the node.
    gone = main.with_name("main-away")
    main.rename(gone)
    main.mkdir()
    try:
        died_at = now()
        lab.kill(home.node.name)
        task = redis.wait_running(other_than=home.container, limit_s=90)
        print(f"restored from the second location {now() - died_at:.1f} s after the power cut")
        assert task.node.name != home.node.name
        assert redis.good_keys(5_000) == 5_000
        start = api.get("workload", "twice.1")["status"]["lastStart"]
        assert (start["how"], start["reason"], start["version"]) == ("Restored", "NodeLoss", newest)
    finally:
        main.rmdir()
        gone.rename(main)

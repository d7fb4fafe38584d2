"""Disks that are really full: the application runs on, nothing half done is left, and all catches up by itself."""

from collections.abc import Iterator
from typing import Any

import pytest

from swarmlab import Lab
from swarmlab.node import Node
from swarmlab.process import wait_until
from swarmlab.workload import Api, Redis, Writer, now, policy

TIGHT = "/run/tight"
STAGING = "/var/lib/swarmkeep/staging"
PAUSE_LIMIT_S = 3.0
"""A version stops the application for some tenths of a second, on a machine that does much else for more."""
NOISE = (
    "for i = 1, 6000 do local t = {} for j = 1, 1000 do t[j] = string.char(math.random(0, 255)) end "
    "redis.call('SET', 'noise:' .. i, table.concat(t)) end"
)
"""6 MB that do not compress."""


@pytest.fixture
def node(lab: Lab, api: Api) -> Iterator[Node]:
    """A node with a location of its own on a file system of 4 MB."""
    node = lab.node("n3")
    node.execute(["sh", "-c", f"mkdir -p {TIGHT} && mount -t tmpfs -o size=4m tight {TIGHT}"])
    location = {
        "apiVersion": "swarmkeep.dev/v1alpha1",
        "kind": "StorageLocation",
        "metadata": {"name": "tight"},
        "spec": {"filesystem": {"path": TIGHT}},
    }
    api.apply(location)
    yield node
    node.execute(["sh", "-c", f"umount -l {STAGING}"], check=False)
    api.run("delete", "checkpointpolicy", "cramped", check=False)
    api.run("delete", "checkpoints", "-l", "swarmkeep.dev/workload=cramped.1", "--timeout", "40s", check=False)
    api.run("delete", "storagelocation", "tight", check=False)
    node.execute(["sh", "-c", f"umount -l {TIGHT}"], check=False)


def degraded(api: Api) -> tuple[str, str]:
    conditions: list[dict[str, Any]] = api.get("checkpointpolicy", "cramped").get("status", {}).get("conditions", [])
    found = next((item for item in conditions if item["type"] == "Degraded"), {})
    return str(found.get("status")), str(found.get("reason"))


def failure(api: Api) -> str:
    found: dict[str, Any] = api.get("workload", "cramped.1").get("status", {}).get("lastFailure") or {}
    return str(found.get("reason"))


def test_full_disks_cost_versions_and_never_the_application(lab: Lab, api: Api, node: Node) -> None:
    redis = Redis(lab, "cramped")
    redis.create("redis", options=("--constraint", f"node.hostname=={node.name}"))
    redis.cli("EVAL", NOISE, "0")
    writer = Writer(lab, node.name, "cramped")
    writer.start()
    home = redis.wait_running()

    # The location is full.
    begun = now()
    api.apply(policy("cramped", every="2s", storage=["tight"]))
    wait_until("the policy to be degraded", lambda: degraded(api) == ("True", "VersionsFail"), limit_s=90)
    assert failure(api) == "StorageFull"
    assert api.newest_version("cramped.1") == 0

    def left() -> str:
        return node.execute(["sh", "-c", f"cd {TIGHT} && find . -type f ! -path './.unfinished/*'"]).stdout.strip()

    wait_until("nothing to be left of a version", lambda: left() == "./swarmkeep-location", limit_s=20, every_s=0.1)
    node.execute(["mount", "-o", "remount,size=256m", TIGHT])
    first = api.wait_version("cramped.1", 1)
    wait_until("it to be as promised", lambda: degraded(api)[0] == "False", limit_s=60)

    # The node's own disk is full.
    node.execute(["mount", "-t", "tmpfs", "-o", "size=2m", "full", STAGING])
    wait_until("the policy to be degraded", lambda: degraded(api) == ("True", "VersionsFail"), limit_s=90)
    assert failure(api) == "StorageFull"
    node.execute(["umount", "-l", STAGING])
    api.wait_version("cramped.1", max(first, api.newest_version("cramped.1")) + 1)
    wait_until("it to be as promised", lambda: degraded(api)[0] == "False", limit_s=60)

    assert writer.longest_pause(begun) < PAUSE_LIMIT_S
    assert redis.wait_running().container == home.container
    assert "Good" in api.run("verify", "cramped.1", "--location", "tight")
    writer.stop()

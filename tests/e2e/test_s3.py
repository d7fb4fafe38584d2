"""Versions in a bucket instead of a shared folder: the main job over a real S3 server."""

from typing import Any

import pytest

from swarmlab import Lab
from swarmlab.process import wait_until
from swarmlab.services import S3_CREDENTIALS
from swarmlab.settings import S3_BUCKET
from swarmlab.workload import Api, Redis, join_network, policy

KEYS = 20_000
VALUE_BYTES = 1000


@pytest.fixture
def offsite(lab: Lab, api: Api) -> dict[str, Any]:
    """A StorageLocation in the lab's S3 server."""
    lab.up(s3=True)
    s3 = {"endpoint": lab.settings.s3, "bucket": S3_BUCKET, "prefix": "swarm-a", "credentialsFile": S3_CREDENTIALS}
    location = {
        "apiVersion": "swarmkeep.dev/v1alpha1",
        "kind": "StorageLocation",
        "metadata": {"name": "bucket"},
        "spec": {"s3": s3, "bandwidthLimit": "100Mi"},
    }
    api.apply(location)
    return location


def test_a_service_goes_on_elsewhere_from_a_bucket(lab: Lab, api: Api, offsite: dict[str, Any]) -> None:
    def is_reachable() -> bool:
        status = api.get("storagelocation", "bucket").get("status", {})
        return any(item["type"] == "Reachable" and item["status"] == "True" for item in status.get("conditions", ()))

    wait_until("every node to reach the bucket", is_reachable, limit_s=60)
    redis = Redis(lab, "faraway")
    api.apply(policy("faraway", every="3s", storage=["bucket"], retention={"keepLast": 2}))
    redis.create("redis", options=("--constraint", "node.hostname!=n1"))
    redis.fill(KEYS, VALUE_BYTES)
    join_network(lab, ["n2", "n3"])
    newest = api.wait_version("faraway.1", api.newest_version("faraway.1") + 4, limit_s=90)
    home = redis.wait_running()

    lab.kill(home.node.name)

    task = redis.wait_running(other_than=home.container)
    assert task.node.name != home.node.name
    assert redis.good_keys(KEYS) == KEYS
    start = api.get("workload", "faraway.1")["status"]["lastStart"]
    assert (start["how"], start["reason"]) == ("Restored", "NodeLoss")
    assert start["version"] >= newest
    # The node that it runs on now has never had it: what it was restored from can only have come from the bucket.
    assert not [path for path in (lab.settings.shared / "swarmkeep").rglob("*") if "faraway" in path.name]
    status = api.get("storagelocation", "bucket")["status"]
    assert (status["type"], status["where"]) == ("s3", f"s3://{S3_BUCKET}/swarm-a at {lab.settings.s3}")
    reachable = next(item for item in status["conditions"] if item["type"] == "Reachable")
    assert "If-None-Match" not in reachable["message"]
    assert status["storedBytes"] > 0

"""An encrypted location on real nodes: a key that is late, versions that tell nothing, a rotation, a node that dies."""

import base64
import os
from collections.abc import Iterator
from typing import Any

import pytest

from swarmkeep.store.keyring import LocationKey
from swarmlab import Lab
from swarmlab.process import wait_until
from swarmlab.workload import Api, Redis, join_network, policy

OLD, NEW = "/etc/swarmkeep/sealed.key", "/etc/swarmkeep/sealed-new.key"


def new_key() -> str:
    return base64.b64encode(os.urandom(32)).decode() + "\n"


def location(**encryption: Any) -> dict[str, Any]:
    return {
        "apiVersion": "swarmkeep.dev/v1alpha1",
        "kind": "StorageLocation",
        "metadata": {"name": "sealed"},
        "spec": {"filesystem": {"path": "/shared/sealed"}, "encryption": encryption},
    }


def key_id(line: str) -> str:
    return LocationKey(base64.b64decode(line)).id


def wait_condition(api: Api, type_: str, status: str, reason: str, words: str) -> None:
    def holds() -> bool:
        conditions = api.get("storagelocation", "sealed").get("status", {}).get("conditions", [])
        return any(
            (item["type"], item["status"], item.get("reason")) == (type_, status, reason) and words in item["message"]
            for item in conditions
        )

    wait_until(f"the location to be {type_}={status} because {reason}: {words}", holds, limit_s=90)


@pytest.fixture
def folder(lab: Lab, api: Api) -> Iterator[str]:
    path = lab.settings.shared / "sealed"
    path.mkdir()
    yield str(path)
    api.run("delete", "storagelocation", "sealed")


@pytest.mark.timeout(400)
def test_a_service_goes_on_from_an_encrypted_location_whose_key_was_changed(lab: Lab, api: Api, folder: str) -> None:
    old, new = new_key(), new_key()
    for node in lab.nodes[:2]:
        node.write(OLD, old, mode=0o600)
    api.apply(location(keyFile=OLD))
    late = lab.nodes[2]
    wait_condition(api, "Reachable", "False", "Unreachable", f"{late.name}: storagelocation sealed: there is no key")
    late.write(OLD, old, mode=0o644)
    wait_condition(api, "Reachable", "True", "Reachable", "")
    wait_condition(api, "Encrypted", "True", "KeyExposed", f"{late.name}: {OLD} is open to others")
    late.write(OLD, old, mode=0o600)
    wait_condition(api, "Encrypted", "True", "Encrypted", f"AES-256-GCM, key {key_id(old)}, for every version")

    redis = Redis(lab, "sealed")
    api.apply(policy("sealed", every="2s", storage=["sealed"], retention={"keepLast": 3}))
    redis.create("redis", options=("--constraint", "node.hostname!=n1"))
    secret = os.urandom(24).hex()
    redis.cli("SET", "secret", secret)
    join_network(lab, ["n2", "n3"])
    taken = api.wait_version("sealed.1", api.newest_version("sealed.1") + 2)
    stored = [path for path in (lab.settings.shared / "sealed").rglob("*") if path.is_file()]
    assert [path for path in stored if path.read_bytes().startswith(b"SWKEEPPK\2\0")]
    assert not [path for path in stored if secret.encode() in path.read_bytes()]

    for node in lab.nodes:
        node.write(NEW, new, mode=0o600)
    api.apply(location(keyFile=NEW, previousKeyFiles=[OLD]))
    wait_condition(api, "Encrypted", "True", "Encrypted", f"key {key_id(new)}, for every version")
    api.apply(location(keyFile=NEW))
    for node in lab.nodes:
        node.execute(["rm", OLD])
    api.wait_version("sealed.1", taken + 2)
    home = redis.wait_running()
    lab.kill(home.node.name)
    redis.wait_running(other_than=home.container)

    assert redis.cli("GET", "secret") == secret
    start = api.get("workload", "sealed.1")["status"]["lastStart"]
    assert (start["how"], start["reason"]) == ("Restored", "NodeLoss")

"""What lies in storage: damage is found and stepped over, and a lost catalogue is made again from it."""

from typing import Any

from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.repository import Repository
from swarmlab import Lab
from swarmlab.process import wait_until
from swarmlab.workload import Api, Redis, alive_manager, policy


def take(api: Api, workload: str, name: str) -> int:
    """Takes a version on demand; returns its number."""
    wanted = {"apiVersion": "swarmkeep.dev/v1alpha1", "kind": "Checkpoint", "spec": {"workload": workload}}
    api.apply({**wanted, "metadata": {"name": name, "namespace": "default"}})

    def status() -> dict[str, Any]:
        found: dict[str, Any] = api.get("checkpoint", name).get("status", {})
        return found

    wait_until(f"version {name}", lambda: status().get("phase") == "Stored", limit_s=60)
    return int(status()["version"])


def last_start(api: Api, workload: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get("workload", workload).get("status", {}).get("lastStart", {})
    return found


def test_a_flipped_byte_is_found_and_the_restore_steps_back(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "flipped")
    api.apply(policy("flipped", every="1h"))
    redis.create("redis")
    api.wait_claimed("flipped.1")
    redis.cli("SET", "state", "older")
    older = take(api, "flipped.1", "flipped-older")
    redis.cli("SET", "state", "newer")
    newer = take(api, "flipped.1", "flipped-newer")
    assert api.run("verify", "flipped.1").count("Good") == 2

    folder = lab.settings.shared / "swarmkeep"
    manifest = Repository.open(LocalBlobStore(folder), create=False).manifest("default/flipped.1", newer)
    own = next(pack for pack in manifest.packs if pack.name.startswith(manifest.attempt))
    path = folder / "packs/default/flipped.1" / own.name
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)

    said = api.run("verify", "flipped.1", check=False)
    (line,) = [line for line in said.splitlines() if "Damaged" in line]
    assert line.startswith("flipped-newer ")
    assert "image/" in line
    assert "flipped-older   Good" in said

    task = redis.wait_running()
    task.node.execute(["sh", "-c", "kill -9 $(docker inspect -f '{{.State.Pid}}' " + task.container + ")"])
    redis.wait_running(other_than=task.container)
    wait_until("the start to be reported", lambda: last_start(api, "flipped.1").get("how") == "Restored", limit_s=40)
    assert last_start(api, "flipped.1")["version"] == older
    assert redis.cli("GET", "state") == "older"
    # What is taken now must not lean on the damaged bytes.
    after = take(api, "flipped.1", "flipped-after")
    assert after > newer
    assert "Good" in api.run("verify", "flipped-after")


def forget_everything(lab: Lab) -> None:
    """What a lost etcd would take along, without losing the lab."""
    pki = "/etc/swarmkeep/pki"
    keys = [f"--cacert={pki}/etcd-ca.crt", f"--cert={pki}/etcd-client.crt", f"--key={pki}/etcd-client.key"]
    for plural in ("checkpointpolicies", "workloads", "checkpoints"):
        command = ["etcdctl", *keys, "del", "--prefix", f"/registry/swarmkeep.dev/{plural}/"]
        alive_manager(lab).execute(command)


def test_a_lost_catalogue_comes_back_and_a_service_made_anew_goes_on(lab: Lab, api: Api) -> None:
    redis = Redis(lab, "kept")
    api.apply(policy("kept", every="1h"))
    redis.create("redis")
    api.wait_claimed("kept.1")
    redis.cli("SET", "state", "before")
    take(api, "kept.1", "kept-by-hand")
    redis.cli("SET", "state", "at the end")
    redis.remove()
    repository = Repository.open(LocalBlobStore(lab.settings.shared / "swarmkeep"), create=False)
    wait_until("the final version", lambda: len(repository.versions("default/kept.1")) == 2, limit_s=60)
    numbers = repository.versions("default/kept.1")
    wait_until(
        "the claim to be given back",
        lambda: not api.get("workload", "kept.1")["status"].get("claim", {}).get("node"),
        limit_s=60,
    )

    forget_everything(lab)
    assert [obj for obj in api.list("checkpoints") if obj["spec"]["workload"] == "kept.1"] == []
    api.apply(policy("kept", every="1h"))
    assert "would be made" in api.run("import", "--location", "main", "--dry-run")
    api.run("import", "--location", "main")
    found = {obj["metadata"]["name"]: obj for obj in api.list("checkpoints", labels="swarmkeep.dev/workload=kept.1")}
    assert set(found) == {"kept-by-hand", f"kept.1-v{numbers[1]}"}
    assert {obj["status"]["phase"] for obj in found.values()} == {"Stored"}

    redis.create("redis")
    assert redis.cli("GET", "state") == "at the end"
    wait_until("the start to be reported", lambda: last_start(api, "kept.1").get("how") == "Restored", limit_s=40)
    assert last_start(api, "kept.1")["version"] == numbers[1]
    assert take(api, "kept.1", "kept-next") == numbers[1] + 1
    assert api.run("verify", "kept.1").count("Good") == 3

"""`swarmkeep prune` as a user types it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from .conftest import Cli

pytestmark = pytest.mark.etcd

API = "swarmkeep.dev/v1alpha1"


def obj(kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def policy(name: str = "redis", **retention: Any) -> dict[str, Any]:
    spec = {"selector": {"service": name}, "schedule": {"every": "30s"}, "storage": ["main"], "retention": retention}
    return obj("CheckpointPolicy", name, spec)


def workload(name: str, of: str = "redis") -> dict[str, Any]:
    spec = {"policy": of, "type": "ReplicatedTask", "service": {"id": "s1", "name": of}, "slot": 1}
    return obj("Workload", name, spec)


def set_status(cli: Cli, kind: str, name: str, **status: Any) -> None:
    cli.kubectl("patch", kind, name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


def versions(cli: Cli, of: str, ages_s: list[float], **spec: Any) -> None:
    """Versions 1, 2, ... of those ages, with their data in storage."""
    names = [f"{of}-v{number}" for number in range(1, len(ages_s) + 1)]
    spec = {"workload": of, "reason": "Schedule", **spec}
    made = [obj("Checkpoint", name, spec, finalizers=["swarmkeep.dev/data"]) for name in names]
    cli.run("apply", "-f", cli.file("versions.yaml", *made))
    for number, (name, age_s) in enumerate(zip(names, ages_s, strict=True), 1):
        taken_at = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
        stored = {"phase": "Stored", "version": number, "node": "n1", "location": "main", "takenAt": taken_at}
        set_status(cli, "ckpt", name, **stored, bytes={"stored": 2 << 20})


def scene(cli: Cli, phase: str = "Running", **retention: Any) -> None:
    cli.run("apply", "-f", cli.file("p.yaml", policy(**retention), workload("redis.1")))
    set_status(cli, "wl", "redis.1", phase=phase, claim={"node": "n1", "epoch": 1})
    versions(cli, "redis.1", [86_400.0 * 40, 300, 200, 100])


def fates(text: str) -> dict[str, tuple[str, str]]:
    """Fate and reason by name."""
    found = {}
    for line in text.splitlines()[1:]:
        cells = [cell.strip() for cell in line.split("   ") if cell.strip()]
        found[cells[1]] = (cells[4], cells[5])
    return found


def deleted(cli: Cli) -> set[str]:
    """The versions that are marked as deleted."""
    listed = json.loads(cli.run("get", "ckpt", "-o", "json"))["items"]
    return {item["metadata"]["name"] for item in listed if "deletionTimestamp" in item["metadata"]}


def test_a_dry_run_says_for_each_version_what_becomes_of_it_and_deletes_nothing(cli: Cli) -> None:
    scene(cli, keepLast=2, keepDaily=9, maxAge="30d")
    done = cli.tries("prune", "--dry-run", code=0)
    assert done.stdout.splitlines()[0].split() == ["WORKLOAD", "CHECKPOINT", "TAKEN", "STORED", "FATE", "WHY"]
    found = fates(done.stdout)
    assert list(found) == ["redis.1-v4", "redis.1-v3", "redis.1-v2", "redis.1-v1"]
    assert found["redis.1-v4"][0] == "keep"
    assert found["redis.1-v4"][1].startswith("newest, keepLast, keepDaily 20")
    assert found["redis.1-v1"] == ("remove", "older than maxAge 30d")
    going = [name for name, (fate, _) in found.items() if fate == "remove"]
    size = "4.00 MiB" if len(going) == 2 else "2.00 MiB"  # around midnight two days have a version
    assert done.stderr == (
        f"{len(going)} of 4 would go; {size} were written for them, of which newer versions may use a part\n"
    )
    assert deleted(cli) == set()


def test_without_dry_run_what_no_rule_keeps_is_deleted_and_the_rest_stays(cli: Cli) -> None:
    scene(cli, keepLast=2)
    assert cli.run("prune", "redis.1") == (
        f'checkpoint.swarmkeep.dev "redis.1-v1" deleted from {cli.namespace} namespace: no rule keeps it\n'
        f'checkpoint.swarmkeep.dev "redis.1-v2" deleted from {cli.namespace} namespace: no rule keeps it\n'
    )
    assert deleted(cli) == {"redis.1-v1", "redis.1-v2"}
    again = cli.tries("prune", code=0)
    assert (again.stdout, again.stderr) == ("", "Nothing to prune.\n")
    assert fates(cli.run("prune", "--dry-run"))["redis.1-v1"] == ("removing", "its removal has begun")


def test_a_pinned_version_stays_at_any_age(cli: Cli) -> None:
    scene(cli, keepLast=1, maxAge="1h")
    cli.kubectl("patch", "ckpt", "redis.1-v1", "--type=merge", "-p", '{"spec": {"pinned": true}}')
    assert fates(cli.run("prune", "--dry-run"))["redis.1-v1"] == ("keep", "pinned")
    cli.run("prune")
    assert deleted(cli) == {"redis.1-v2", "redis.1-v3"}


@pytest.mark.parametrize("phase", ["Lost", "Restoring", "Held", "Fenced", "Pending"])
def test_nothing_goes_while_a_version_may_be_needed(cli: Cli, phase: str) -> None:
    scene(cli, phase=phase, keepLast=1)
    why = f"it is {phase}, not Running: one of them may be needed"
    assert fates(cli.run("prune", "--dry-run", "--stopped"))["redis.1-v1"] == ("hold", f"no rule keeps it, but {why}")
    assert cli.complaint("prune", "--stopped", code=0) == f"redis.1: nothing goes: {why}\nNothing to prune.\n"
    assert deleted(cli) == set()


def test_the_versions_of_a_workload_whose_node_is_lost_stay(cli: Cli) -> None:
    scene(cli, keepLast=1)
    name = f"n-{cli.namespace}"
    cli.run("apply", "-f", cli.file("node.yaml", {"apiVersion": API, "kind": "Node", "metadata": {"name": name}}))
    set_status(
        cli, "nodes.swarmkeep.dev", name, conditions=[{"type": "Ready", "status": "False", "reason": "NodeLost"}]
    )
    set_status(cli, "wl", "redis.1", claim={"node": name, "epoch": 2})
    assert f"{name}, which has the right to run it, is lost" in cli.complaint("prune", code=0)
    assert deleted(cli) == set()


def test_a_stopped_workload_is_pruned_only_when_that_is_said(cli: Cli) -> None:
    scene(cli, phase="Stopped", keepLast=1)
    assert "its versions stay until somebody wants them gone" in cli.complaint("prune", code=0)
    assert deleted(cli) == set()
    cli.run("prune", "--stopped")
    assert deleted(cli) == {"redis.1-v1", "redis.1-v2", "redis.1-v3"}


def test_workloads_and_policies_can_be_named(cli: Cli) -> None:
    scene(cli, keepLast=9)
    others = (policy("web", keepLast=1), workload("web.1", "web"), workload("web.2", "web"))
    cli.run("apply", "-f", cli.file("web.yaml", *others))
    for name in ("web.1", "web.2"):
        set_status(cli, "wl", name, phase="Running")
        versions(cli, name, [20, 10])
    assert set(fates(cli.run("prune", "web", "--dry-run"))) == {f"web.{slot}-v{v}" for slot in (1, 2) for v in (1, 2)}
    assert set(fates(cli.run("prune", "wl/web.2", "redis.1", "--dry-run"))) >= {"web.2-v1", "redis.1-v1"}
    assert cli.run("prune", "cpol/redis") == ""
    cli.run("prune", "cpol/web")
    assert deleted(cli) == {"web.1-v1", "web.2-v1"}
    everywhere = cli.run("prune", "--dry-run", "-A").splitlines()
    assert everywhere[0].split()[:2] == ["NAMESPACE", "WORKLOAD"]
    assert any(line.split()[:2] == [cli.namespace, "web.1"] for line in everywhere)


def test_wrong_names_are_said(cli: Cli) -> None:
    assert cli.complaint("prune", code=0) == f"No workloads found in {cli.namespace} namespace.\n"
    scene(cli, keepLast=1)
    missing = f'error: there is no Workload or CheckpointPolicy "x" in namespace {cli.namespace}\n'
    assert cli.complaint("prune", "x", code=1) == missing
    assert 'there is no Workload "redis"' in cli.complaint("prune", "wl/redis", code=1)
    assert 'there is no CheckpointPolicy "redis.1"' in cli.complaint("prune", "cpol/redis.1", code=1)
    assert "only workloads and policies can be pruned" in cli.complaint("prune", "ckpt/redis.1-v1", code=2)
    assert "names cannot be combined with -A" in cli.complaint("prune", "redis.1", "-A", code=2)
    assert deleted(cli) == set()


def test_a_policy_that_is_gone_lets_nothing_go(cli: Cli) -> None:
    scene(cli, keepLast=1)
    cli.run("delete", "cpol", "redis")
    why = "redis.1: nothing goes: its policy redis does not exist or cannot be carried out\n"
    assert cli.complaint("prune", "--dry-run", code=0) == f"{why}0 of 0 would go\n"
    assert cli.complaint("prune", code=0) == f"{why}Nothing to prune.\n"
    assert deleted(cli) == set()

"""`swarmkeep explain-placement` as a user types it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from .conftest import Cli

pytestmark = pytest.mark.etcd

API = "swarmkeep.dev/v1alpha1"
GIB = 1 << 30


def set_status(cli: Cli, kind: str, name: str, **status: Any) -> None:
    cli.kubectl("patch", kind, name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


def put(cli: Cli, kind: str, name: str, spec: dict[str, Any]) -> None:
    body = {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}
    cli.run("apply", "-f", cli.file(f"{kind}.yaml", body))


def node(cli: Cli, name: str, **changed: Any) -> None:
    """A node that could run anything, but for what is changed."""
    status: dict[str, Any] = {
        "machine": "x86_64",
        "versions": {"swarmkeep": "1", "docker": "28.5.2", "runc": "1.3.6", "criu": "4.2.1", "kernel": "6.12.1"},
        "features": {"lazyPages": True, "memoryTracking": True, "cgroupVersion": 2, "createsContainers": True},
        "runtime": {"name": "swarmkeep", "path": "/opt/swarmkeep/bin/swarmkeep-runtime"},
        "storageDriver": "overlay2",
        "criuCheck": {"passed": True, "message": ""},
        "cpuFeatures": ["sse"],
        "images": [{"name": "shop/db@sha256:aa", "id": "sha256:1"}],
        "locations": [{"name": "main", "reachable": True}],
        "swarm": {"id": f"id-{name}", "hostname": name, "role": "worker", "availability": "active", "labels": ["z=a"]},
        "capacity": {"cpus": 4, "memoryBytes": 16 * GIB, "freeMemoryBytes": 12 * GIB},
        "taken": {"running": 1, "memoryBytes": 4 * GIB, "cpus": 0},
        "volumes": [],
        "networks": [],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    cli.run("apply", "-f", cli.file("node.yaml", {"apiVersion": API, "kind": "Node", "metadata": {"name": name}}))
    set_status(cli, "nodes.swarmkeep.dev", name, **{**status, **changed})


def workload(cli: Cli, name: str, spec: dict[str, Any], **status: Any) -> None:
    """A workload with one good version, and its policy."""
    selector = {"container": "db"} if spec["type"] == "Container" else {"service": "redis"}
    policy = {"selector": selector, "schedule": {"every": "30s"}, "storage": ["main"]}
    put(cli, "CheckpointPolicy", "keep", {**policy, "placement": {"constraints": ["node.labels.z!=b"]}})
    put(cli, "Workload", name, {"policy": "keep", **spec})
    traits = {"image": "shop/db:1", "imageID": "sha256:1", "name": "db", "ports": ["5432/tcp"], "networks": ["shop"]}
    set_status(cli, "wl", name, container={"id": "c", "traits": traits}, phase="Running", **status)
    put(cli, "Checkpoint", f"{name}-v7", {"workload": name, "reason": "Schedule"})
    host = {"kernel": "6.12.1", "criu": "4.2.1", "machine": "x86_64"}
    set_status(
        cli,
        "ckpt",
        f"{name}-v7",
        phase="Stored",
        version=7,
        location="main",
        host=host,
        bytes={"memory": GIB, "files": 0, "stored": 1},
    )


@pytest.fixture
def names(cli: Cli) -> list[str]:
    """Names of three nodes; those of other tests are gone."""
    cli.kubectl("delete", "nodes.swarmkeep.dev", "--all")
    return [f"{letter}-{cli.namespace}" for letter in "abc"]


def test_a_plain_container_is_told_where_it_would_go_and_why_not_elsewhere(cli: Cli, names: list[str]) -> None:
    shop = [{"name": "shop", "driver": "bridge", "scope": "local", "attachable": True}]
    node(cli, names[0], networks=shop)
    node(cli, names[1], networks=shop, standbys=[{"workload": f"{cli.namespace}/db", "version": 7}])
    node(cli, names[2], taken={"running": 1, "ports": ["5432/tcp"]}, cpuFeatures=[])
    workload(cli, "db", {"type": "Container", "container": {"name": "db"}}, claim={"node": names[0], "epoch": 1})
    done = cli.tries("explain-placement", "db", code=0)
    width = len(names[0]) + 3
    assert done.stdout.splitlines() == [
        f"db: a plain container, version 7; {names[0]} has it. Without that node it would go on on {names[1]}.",
        f"{'NODE'.ljust(width)}VERDICT   SCORE   READY   WHY",
        f"{names[1].ljust(width)}Chosen    2968    7",
        f"{names[0].ljust(width)}Refused                   it is to go on without this node, which has it now",
        f"{names[2].ljust(width)}Refused                   the node's port 5432/tcp is taken -> free it there",
        f"{' ' * width}                          the node has no network shop -> docker network create shop there",
    ]


def test_programs_get_all_of_it(cli: Cli, names: list[str]) -> None:
    node(cli, names[1], images=[])
    workload(cli, "db", {"type": "Container", "container": {"name": "db"}}, claim={"node": names[0], "epoch": 1})
    done = cli.tries("explain-placement", "wl/db", "-o", "json", code=1)
    found = json.loads(done.stdout)
    assert (found["workload"], found["kind"], found["node"]) == ("db", "Container", names[0])
    assert (found["version"], found["chosen"]) == (7, None)
    assert [finding["code"] for finding in found["nodes"][0]["findings"]] == ["ImageMissing", "NetworkMissing"]
    assert yaml.safe_load(cli.tries("explain-placement", "db", "-o", "yaml", code=1).stdout) == found


def test_of_a_task_it_says_where_swarm_could_have_it_restored(cli: Cli, names: list[str]) -> None:
    for name in names:
        node(cli, name)
    spec = {"type": "ReplicatedTask", "service": {"id": "s", "name": "redis"}, "slot": 1}
    constraints = [f"node.hostname!={names[2]}"]
    workload(cli, "redis.1", spec, claim={"node": names[0], "epoch": 1}, swarm={"constraints": constraints})
    lines = cli.tries("explain-placement", "redis.1", code=0).stdout.splitlines()
    assert lines[0] == (
        f"redis.1: a task of service redis, version 7; {names[0]} has it. "
        f"It could be restored on {names[1]}: Swarm chooses."
    )
    assert [line.split()[:2] for line in lines[2:]] == [
        [names[1], "Possible"],
        [names[0], "Refused"],
        [names[2], "Refused"],
    ]
    assert lines[4].endswith(f"the node does not fulfil node.hostname!={names[2]}")


def test_a_workload_that_is_not_there_is_said(cli: Cli) -> None:
    assert "db" in cli.complaint("explain-placement", "db", code=1)


def test_its_help_has_examples(cli: Cli) -> None:
    assert "swarmkeep explain-placement redis.1 -o json" in " ".join(cli.run("explain-placement", "--help").split())

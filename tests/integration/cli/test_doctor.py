"""`swarmkeep doctor` as a user types it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from .conftest import Cli

pytestmark = pytest.mark.etcd

API = "swarmkeep.dev/v1alpha1"
LEASES = "swarmkeep-nodes"
GIB = 1 << 30


def set_status(cli: Cli, kind: str, name: str, **status: Any) -> None:
    cli.kubectl("patch", kind, name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


def node(cli: Cli, name: str, **changed: Any) -> None:
    """A node that is well, but for what is changed."""
    status: dict[str, Any] = {
        "versions": {"swarmkeep": "1", "docker": "28.5.2", "runc": "1.3.6", "criu": "4.2.1", "kernel": "6.12.0"},
        "features": {"lazyPages": True, "memoryTracking": True, "cgroupVersion": 2},
        "runtime": {"name": "swarmkeep", "path": "/opt/swarmkeep/bin/swarmkeep-runtime"},
        "storageDriver": "overlay2",
        "criuCheck": {"passed": True, "message": ""},
        "cpuFeatures": ["sse"],
        "clockOffsetSeconds": 0,
        "disks": [{"name": "staging", "path": "/s", "totalBytes": 100 * GIB, "freeBytes": 50 * GIB}],
        "images": [{"name": "redis@sha256:aa", "id": "sha256:1"}],
        "locations": [{"name": "main", "reachable": True}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": LEASES},
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": 600,
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }
    cli.run("apply", "-f", cli.file("node.yaml", {"apiVersion": API, "kind": "Node", "metadata": {"name": name}}))
    cli.kubectl("create", f"--namespace={LEASES}", "-f", "-", stdin=json.dumps(lease))
    set_status(cli, "nodes.swarmkeep.dev", name, **{**status, **changed})


def workload(cli: Cli, name: str, on: str, **traits: Any) -> None:
    spec = {"policy": "redis", "type": "ReplicatedTask", "service": {"id": "s1", "name": "redis"}, "slot": 1}
    selected = {"selector": {"service": "redis"}, "schedule": {"every": "30s"}, "storage": ["main"]}
    cli.run(
        *("apply", "-f"),
        cli.file(
            "objects.yaml",
            {"apiVersion": API, "kind": "CheckpointPolicy", "metadata": {"name": "redis"}, "spec": selected},
            {"apiVersion": API, "kind": "Workload", "metadata": {"name": name}, "spec": spec},
        ),
    )
    known = {"image": "redis:7@sha256:aa", "imageID": "sha256:1", "tty": False, "mounts": [], **traits}
    set_status(
        cli,
        "wl",
        name,
        phase="Running",
        claim={"node": on, "epoch": 1},
        container={"id": "c", "traits": known},
        conditions=[{"type": "Protected", "status": "True", "reason": "Protected", "message": "young"}],
    )


@pytest.fixture
def pair(cli: Cli) -> tuple[str, str]:
    """Names of two nodes of the test's own."""
    cli.kubectl("create", "namespace", LEASES) if LEASES not in cli.run("get", "ns", "-o", "name") else None
    return f"a-{cli.namespace}", f"b-{cli.namespace}"


def test_what_is_well_is_said_and_ends_with_zero(cli: Cli, pair: tuple[str, str]) -> None:
    for name in pair:
        node(cli, name)
    workload(cli, "redis.1", pair[0], tty=True)
    done = cli.tries("doctor", *pair, "redis.1", code=0)
    assert done.stdout == (
        f"node {pair[0]}: fine\nnode {pair[1]}: fine\n"
        f"workload {cli.namespace}/redis.1:\n"
        "  note Tty: it has a terminal: whoever is attached loses it, and attaches again after a restore\n"
    )
    assert done.stderr == "3 examined: 0 problems, 0 warnings, 1 note\n"
    assert cli.run("doctor", "wl/redis.1", "--no-notes") == f"workload {cli.namespace}/redis.1: fine\n"


def test_what_would_not_survive_is_said_with_what_to_do_and_ends_with_one(cli: Cli, pair: tuple[str, str]) -> None:
    node(cli, pair[0])
    node(cli, pair[1], runtime={"name": "runc", "path": "runc"}, cpuFeatures=[], clockOffsetSeconds=9)
    workload(cli, "redis.1", pair[0], mounts=[{"type": "bind", "source": "/srv", "target": "/data"}])
    done = cli.tries("doctor", f"node/{pair[1]}", "redis.1", code=1)
    assert done.stdout.splitlines() == [
        f"node {pair[1]}:",
        "  problem ShimNotDefault: Docker starts containers with runc: nothing is restored here, and nothing saved at "
        "a stop",
        "    -> make swarmkeep-runtime the default-runtime in /etc/docker/daemon.json and reload Docker",
        "  warning ClockOff: its clock is 9 s ahead of the API server's: the times of its versions are wrong by that",
        "    -> run NTP on all nodes",
        f"workload {cli.namespace}/redis.1:",
        "  warning BindMount: it writes to folders of its node, which are not part of a version (/srv at /data)",
        "    -> name them in checkpoint.volumes of the policy, or see to it that every node has them with the same "
        "content, as on a shared file system",
    ]
    assert done.stderr == "2 examined: 1 problem, 2 warnings, 0 notes\n"


def test_programs_get_all_of_it(cli: Cli, pair: tuple[str, str]) -> None:
    node(cli, pair[0], criuCheck={"passed": False, "message": "Error (x)"})
    workload(cli, "redis.1", pair[0])
    found = json.loads(cli.tries("doctor", "-o", "json", code=1).stdout)["examined"]
    assert {
        "kind": "node",
        "name": pair[0],
        "findings": [
            {
                "code": "CriuCheckFailed",
                "severity": "Problem",
                "message": "criu check: Error (x)",
                "advice": "install a kernel and CRIU that fit",
            }
        ],
    } in found
    assert ("workload", "redis.1", cli.namespace) in {(o["kind"], o["name"], o.get("namespace")) for o in found}


def test_wrong_names_are_said(cli: Cli) -> None:
    assert cli.complaint("doctor", "nobody", code=1) == 'error: there is no Node or Workload "nobody"\n'
    assert "only nodes and workloads can be examined" in cli.complaint("doctor", "cpol/redis", code=2)
    assert "names cannot be combined with -A" in cli.complaint("doctor", "redis.1", "-A", code=2)

import json
from contextlib import suppress
from typing import Any

import pytest
import yaml

from .conftest import Kubectl, policy

pytestmark = pytest.mark.etcd


@pytest.fixture
def three(kubectl: Kubectl) -> Kubectl:
    kubectl("apply", "-f", "-", stdin="---\n".join((policy("a"), policy("b", tier="web"), policy("c", every="10s"))))
    return kubectl


def make_workload(kubectl: Kubectl, name: str, **status: Any) -> None:
    body = {
        "apiVersion": "swarmkeep.dev/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": name},
        "spec": {"policy": "redis", "type": "ReplicatedTask", "service": {"id": "s", "name": "redis"}, "slot": 1},
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(body))
    patch = json.dumps({"status": status})
    kubectl("patch", "wl", name, "--subresource=status", "--type=merge", "-p", patch)


def test_get_prints_the_columns_of_the_definition(three: Kubectl) -> None:
    header, first, *rest = three("get", "cpol").rows
    assert header == ["NAME", "SELECTS", "EVERY", "WORKLOADS", "PROTECTED", "READY", "AGE"]
    assert first[:2] == ["a", "30s"]
    assert first[-1].endswith("s")
    assert [row[0] for row in rest] == ["b", "c"]


def test_get_wide_prints_more(three: Kubectl) -> None:
    assert "REASON" in three("get", "cpol", "-o", "wide").rows[0]


def test_get_of_one_object_as_yaml_json_name_and_jsonpath(three: Kubectl) -> None:
    from_yaml = yaml.safe_load(three("get", "cpol", "a", "-o", "yaml").out)
    assert from_yaml["spec"] == three.get("cpol", "a")["spec"]
    assert from_yaml["metadata"]["namespace"] == three.namespace
    assert three("get", "cpol", "a", "-o", "name").out == "checkpointpolicy.swarmkeep.dev/a\n"
    assert three("get", "cpol", "a", "-o", "jsonpath={.spec.schedule.every}").out == "30s"


def test_get_by_short_name_singular_and_group(three: Kubectl) -> None:
    for name in ("cpol", "checkpointpolicy", "checkpointpolicies", "checkpointpolicies.swarmkeep.dev"):
        assert len(three.get(name)["items"]) == 3


def test_get_by_label(three: Kubectl) -> None:
    assert [row[0] for row in three("get", "cpol", "-l", "tier=web", "--no-headers").rows] == ["b"]
    assert len(three("get", "cpol", "-l", "tier in (web, data)", "--no-headers").rows) == 3
    assert [row[0] for row in three("get", "cpol", "-l", "tier!=data,tier", "--no-headers").rows] == ["b"]
    assert "TIER" in three("get", "cpol", "-L", "tier").rows[0]
    assert "tier=web" in three("get", "cpol", "--show-labels").out


def test_get_by_field(three: Kubectl) -> None:
    assert [row[0] for row in three("get", "cpol", "--field-selector=metadata.name=b", "--no-headers").rows] == ["b"]
    make_workload(three, "redis.1", phase="Running", claim={"node": "n1", "epoch": 1})
    make_workload(three, "redis.2", phase="Lost")
    for selector, name in (("status.claim.node=n1", "redis.1"), ("status.phase=Lost", "redis.2")):
        rows = three("get", "wl", f"--field-selector={selector}", "--no-headers").rows
        assert [row[0] for row in rows] == [name]


def test_get_in_all_namespaces(three: Kubectl) -> None:
    rows = [row[:2] for row in three("get", "cpol", "-A", "--no-headers").rows]
    assert [three.namespace, "a"] in rows


def test_get_sorted(three: Kubectl) -> None:
    rows = three("get", "cpol", "--sort-by={.spec.schedule.every}", "--no-headers").rows
    assert [row[0] for row in rows] == ["c", "a", "b"]


def test_get_in_chunks_gives_everything(three: Kubectl) -> None:
    assert len(three("get", "cpol", "--chunk-size=1", "--no-headers").rows) == 3


def test_the_category_shows_all_our_kinds(three: Kubectl) -> None:
    make_workload(three, "redis.1", phase="Running")
    out = three("get", "keep").out
    assert "checkpointpolicy.swarmkeep.dev/a" in out
    assert "workload.swarmkeep.dev/redis.1" in out


def test_nothing_found_is_said(kubectl: Kubectl) -> None:
    assert f"No resources found in {kubectl.namespace} namespace." in kubectl("get", "cpol").err


def test_a_workload_row_shows_what_an_operator_wants_to_know(kubectl: Kubectl) -> None:
    make_workload(
        kubectl,
        "redis.1",
        phase="Running",
        claim={"node": "n1", "epoch": 2},
        newestVersion={"number": 7, "takenAt": "2026-01-01T00:00:00Z"},
        lastStart={"how": "Restored", "reason": "NodeLoss"},
    )
    header, row = kubectl("get", "wl").rows
    shown = dict(zip(header, row, strict=False))
    assert (shown["POLICY"], shown["PHASE"], shown["NODE"], shown["VERSION"]) == ("redis", "Running", "n1", "7")


def test_describe_prints_the_object_and_its_events(three: Kubectl) -> None:
    uid = three.get("cpol", "a")["metadata"]["uid"]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "a.1"},
        "involvedObject": {
            "apiVersion": "swarmkeep.dev/v1alpha1",
            "kind": "CheckpointPolicy",
            "name": "a",
            "namespace": three.namespace,
            "uid": uid,
        },
        "reason": "Stored",
        "message": "version 3 of redis.1 stored",
        "type": "Normal",
        "count": 1,
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "source": {"component": "swarmkeep-agent", "host": "n1"},
    }
    three("create", "-f", "-", stdin=json.dumps(event))
    out = three("describe", "cpol", "a").out
    assert "Every:    30s" in out
    assert "Stored" in out
    assert "version 3 of redis.1 stored" in out
    table = three("get", "events").out
    assert "checkpointpolicy/a" in table
    assert three("events", "--for=checkpointpolicy/a").rows[1][1:4] == ["Normal", "Stored", "CheckpointPolicy/a"]
    assert "version 3" in three("get", "events", "--field-selector=reason=Stored,type=Normal").out
    assert "version 3" not in three("get", "events", "--field-selector=type=Warning").out


def test_describe_without_events_says_so(three: Kubectl) -> None:
    assert "Events:" in three("describe", "cpol", "b").out


def watched(text: str) -> list[tuple[str, str]]:
    """Type and name of each whole event that `get --output-watch-events -o json` printed."""
    decoder, events, rest = json.JSONDecoder(), [], text.lstrip()
    with suppress(json.JSONDecodeError):  # the last one may be half there
        while rest:
            event, end = decoder.raw_decode(rest)
            events.append((event["type"], event["object"]["metadata"]["name"]))
            rest = rest[end:].lstrip()
    return events


@pytest.mark.parametrize("output", ["table", "json"])
def test_watch_prints_changes_as_they_come(three: Kubectl, output: str) -> None:
    how = ("-o", "json") if output == "json" else ("--no-headers",)
    process = three.started("get", "cpol", "-w", "-l", "tier=web", "--output-watch-events", *how)
    assert process.stdout is not None
    try:
        text = process.stdout.readline()
        three("label", "cpol", "a", "tier=web", "--overwrite")  # comes into the selection
        three("annotate", "cpol", "b", "note=1")
        three("label", "cpol", "a", "tier=data", "--overwrite")  # leaves it
        three("delete", "cpol", "b")
        events: list[tuple[str, str]] = []
        while len(events) < 5:
            text += process.stdout.readline()
            table = [(line.split()[0], line.split()[1]) for line in text.splitlines()] if output == "table" else []
            events = table or watched(text)
    finally:
        process.terminate()
        process.communicate(timeout=10)
    assert events == [("ADDED", "b"), ("ADDED", "a"), ("MODIFIED", "b"), ("DELETED", "a"), ("DELETED", "b")]


def test_cluster_scoped_objects_have_no_namespace(kubectl: Kubectl) -> None:
    body = {"apiVersion": "swarmkeep.dev/v1alpha1", "kind": "Node", "metadata": {"name": f"n-{kubectl.namespace}"}}
    kubectl("apply", "-f", "-", stdin=json.dumps(body))
    assert "namespace" not in kubectl.get("nodes", f"n-{kubectl.namespace}")["metadata"]
    kubectl("delete", "node.swarmkeep.dev", f"n-{kubectl.namespace}")

"""What describe tells, and in which order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from swarmkeep.cli import stories

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
WORKLOAD: dict[str, Any] = {
    "apiVersion": "swarmkeep.dev/v1alpha1",
    "kind": "Workload",
    "metadata": {
        "name": "redis.1",
        "namespace": "shop",
        "labels": {"b": "2", "a": "1"},
        "creationTimestamp": "2026-01-31T11:00:00Z",
    },
    "spec": {"policy": "redis"},
    "status": {
        "phase": "Running",
        "claim": {"node": "n2", "epoch": 3},
        "newestVersion": {"number": 7, "takenAt": "2026-01-31T11:59:30.5Z", "frozenSeconds": 0.213},
        "lastStart": {
            "how": "Restored",
            "version": 5,
            "seconds": 1.5,
            "node": "n2",
            "at": "2026-01-31T11:58:00Z",
            "reason": "NodeLoss",
            "message": "n1 was lost",
        },
        "lastFailure": {"reason": "DumpFailed", "message": "a socket", "consecutive": 2},
        "conditions": [
            {
                "type": "Protected",
                "status": "True",
                "reason": "Young",
                "message": "12s old",
                "lastTransitionTime": "2026-01-31T11:59:00Z",
            }
        ],
    },
}


def test_a_workload_in_short_before_its_fields() -> None:
    text = stories.tell(WORKLOAD, NOW)
    head = text[: text.index("Spec:")]
    assert head.splitlines() == [
        "Name:            redis.1",
        "Namespace:       shop",
        "Labels:          a=1",
        "                 b=2",
        "Annotations:     <none>",
        "Kind:            Workload (swarmkeep.dev/v1alpha1)",
        "Created:         2026-01-31T11:00:00Z (1h ago)",
        "Policy:          redis",
        "Phase:           Running",
        "Node:            n2 (epoch 3)",
        "Newest version:  7, taken 29s ago, frozen for 213 ms",
        "Last start:      Restored from version 5 in 1.50 s on n2 2m ago, NodeLoss: n1 was lost",
        "Last failure:    DumpFailed (2 in a row): a socket",
    ]
    assert text.index("Spec:") < text.index("Conditions:")
    assert "Status:" not in text  # all of it is told above
    assert "Protected  True    1m     Young   12s old" in text


def test_a_workload_without_a_version_says_what_that_means() -> None:
    text = stories.tell({**WORKLOAD, "status": {}}, NOW)
    assert "Newest version:  <none>: a lost node would lose its state" in text
    assert "Node:            <none>" in text


def test_an_object_that_waits_for_its_finalizers_says_so() -> None:
    metadata = {**WORKLOAD["metadata"], "deletionTimestamp": "2026-01-31T11:59:58Z", "finalizers": ["keep/data"]}
    assert "Terminating:     2026-01-31T11:59:58Z (2s ago), held by keep/data" in stories.tell(
        {**WORKLOAD, "metadata": metadata}, NOW
    )


def test_any_other_kind_gets_its_fields() -> None:
    obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c"},
        "data": {"someKey": "x", "list": [{"a": 1, "b": [1]}, "y"], "empty": {}, "flag": True},
    }
    text = stories.tell(obj, NOW)
    assert text[text.index("Data:") :].splitlines() == [
        "Data:",
        "  Some key:  x",
        "  List:",
        "    - A:  1",
        "      B:",
        "        - 1",
        "    - y",
        "  Empty:  <none>",
        "  Flag:      yes",
    ]


def test_the_newest_versions_are_listed_last_and_older_ones_counted() -> None:
    checkpoints = [
        {
            "spec": {"reason": "Schedule", "pinned": number == 3},
            "status": {"version": number, "phase": "Stored", "bytes": {"stored": 2048}, "frozenSeconds": 0.1},
        }
        for number in (3, 1, 2)
    ]
    text = stories.versions(checkpoints, NOW, limit=2)
    assert text.splitlines()[0] == "Versions:  (1 older ones are not shown)"
    assert [line.split()[0] for line in text.splitlines()[3:]] == ["2", "3"]
    assert "Schedule, pinned" in text
    assert "2.00 KiB" in text
    assert stories.versions([], NOW, limit=2) == "Versions:  <none>\n"


def test_events_are_told_oldest_first_with_their_counts() -> None:
    def event(reason: str, last: str, count: int = 1) -> dict[str, Any]:
        return {
            "metadata": {"name": reason},
            "type": "Normal",
            "reason": reason,
            "message": f"{reason}\nhappened",
            "count": count,
            "firstTimestamp": "2026-01-31T11:50:00Z",
            "lastTimestamp": last,
            "source": {"component": "swarmkeep-agent", "host": "n1"},
        }

    text = stories.events([event("Stored", "2026-01-31T11:59:59Z", 4), event("Frozen", "2026-01-31T11:59:57Z")], NOW)
    frozen, stored = text.splitlines()[3:]
    assert frozen.split() == ["Normal", "Frozen", "3s", "swarmkeep-agent,", "n1", "Frozen", "happened"]
    assert "1s (x4 over 10m)" in stored
    assert stories.events([], NOW) == "Events:  <none>\n"


@pytest.mark.parametrize(
    ("kind", "status", "line"),
    [
        (
            "CheckpointPolicy",
            {"selects": "service/redis", "workloads": 3, "protected": 2, "restorable": 1},
            "3, 2 protected, 1 restorable",
        ),
        ("CheckpointPolicy", {"oldestVersionAt": "2026-01-31T11:59:50Z"}, "a lost node would cost at most 10s"),
        ("Checkpoint", {"phase": "Stored"}, "Verified:     not yet"),
        (
            "Checkpoint",
            {
                "verified": {
                    "result": "Damaged",
                    "how": "Full",
                    "at": "2026-01-31T11:59:50Z",
                    "node": "n2",
                    "damagedFiles": 3,
                    "problems": [{"path": "image/pages-1.img", "problem": "frame 0 was changed"}],
                }
            },
            "Damaged, every byte 10s ago on n2\n"
            "              image/pages-1.img: frame 0 was changed\n"
            "              and 2 more files",
        ),
        (
            "Checkpoint",
            {"verified": {"result": "Good", "how": "Restore", "at": "2026-01-31T11:59:50Z"}},
            "Good, every byte 10s ago",
        ),
        (
            "Checkpoint",
            {"verified": {"result": "Good", "how": "Quick", "at": "2026-01-31T11:59:50Z"}},
            "Good, manifest and packs 10s ago",
        ),
        ("Checkpoint", {"verification": {"node": "n1"}}, "on n1"),
        ("Checkpoint", {"bytes": {"memory": 1 << 20}, "phase": "Stored"}, "1.00 MiB memory"),
        (
            "Checkpoint",
            {"locations": [{"name": "far", "state": "Failed", "message": "damaged"}]},
            "In far:       Failed: damaged",
        ),
        (
            "Workload",
            {"replicas": [{"location": "far", "version": 4, "message": "no answer"}]},
            "version 4: no answer",
        ),
        (
            "Node",
            {"conditions": [{"type": "Ready", "status": "False", "reason": "Silent", "message": "for 15s"}]},
            "no, Silent: for 15s",
        ),
        ("Node", {"cpuFeatures": ["avx", "sse"]}, "CPU features:  2 known"),
    ],
)
def test_each_kind_has_a_summary(kind: str, status: dict[str, Any], line: str) -> None:
    obj = {**WORKLOAD, "kind": kind, "spec": {"workload": "redis.1"}, "status": status}
    assert line in stories.tell(obj, NOW)

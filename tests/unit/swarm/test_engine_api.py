"""Docker's JSON, as a real Engine 28.5 gave it, read into our nouns."""

from datetime import UTC, datetime
from typing import Any

import pytest

from swarmkeep.model.swarm import Mode
from swarmkeep.swarm.engine_api import read_node, read_service, read_task


def service(**spec: Any) -> dict[str, Any]:
    template = {"ContainerSpec": {"Image": "redis@sha256:ab", "Labels": {"com.docker.stack.namespace": "shop"}}}
    return {
        "ID": "svc",
        "CreatedAt": "2026-11-23T09:20:14.120002123Z",
        "Spec": {"Name": "shop_redis", "Labels": None, "TaskTemplate": {**template, "ForceUpdate": 3}, **spec},
    }


def test_a_service() -> None:
    found = read_service(service(Mode={"Replicated": {"Replicas": 2}}))
    assert (found.name, found.mode, found.replicas, found.force_update) == ("shop_redis", Mode.REPLICATED, 2, 3)
    assert found.stack == "shop"
    assert found.labels == {}
    assert found.created_at == datetime(2026, 11, 23, 9, 20, 14, 120002, tzinfo=UTC)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ({"Replicated": {}}, (Mode.REPLICATED, 1)),
        ({"Replicated": {"Replicas": 0}}, (Mode.REPLICATED, 0)),
        ({"Global": {}}, (Mode.GLOBAL, 0)),
        ({"ReplicatedJob": {"TotalCompletions": 5}}, (Mode.JOB, 0)),
        ({"GlobalJob": {}}, (Mode.JOB, 0)),
    ],
)
def test_modes(mode: dict[str, Any], expected: tuple[Mode, int]) -> None:
    found = read_service(service(Mode=mode))
    assert (found.mode, found.replicas) == expected


@pytest.mark.parametrize(("state", "ready"), [("ready", True), ("down", False), ("unknown", False), (None, False)])
def test_a_node_is_ready_only_when_the_swarm_says_so(state: str | None, ready: bool) -> None:
    raw = {
        "ID": "n",
        "Spec": {"Role": "manager", "Availability": "drain", "Labels": {"a": "b"}},
        "Description": {"Hostname": "n1"},
        "Status": {"State": state, "Addr": "10.0.0.1"},
    }
    found = read_node(raw)
    assert (found.hostname, found.ready, found.availability, found.manager) == ("n1", ready, "drain", True)


def test_a_task_that_is_not_placed_yet() -> None:
    found = read_task({"ID": "t", "ServiceID": "svc", "Slot": 1, "DesiredState": "running", "Status": {"State": "new"}})
    assert (found.slot, found.node_id, found.container_id, found.state_since) == (1, "", "", None)
    assert found.wanted


@pytest.mark.parametrize(
    ("desired", "wanted"), [("running", True), ("ready", True), ("shutdown", False), ("remove", False)]
)
def test_what_swarm_wants_of_a_task(desired: str, wanted: bool) -> None:
    status = {"State": "failed", "Err": "exit 1", "Message": "started", "Timestamp": "0001-01-01T00:00:00Z"}
    found = read_task({"ID": "t", "NodeID": "n", "DesiredState": desired, "Status": status})
    assert found.wanted is wanted
    assert (found.slot, found.message, found.state_since) == (None, "exit 1", None)


@pytest.mark.parametrize(
    ("policy", "restarts"),
    [(None, True), ({}, True), ({"Condition": "on-failure"}, True), ({"Condition": "none"}, False)],
)
def test_whether_swarm_makes_another_task_is_in_the_restart_policy(policy: Any, restarts: bool) -> None:
    template = {"ContainerSpec": {}, **({"RestartPolicy": policy} if policy is not None else {})}
    assert read_service(service(Mode={"Replicated": {}}, TaskTemplate=template)).restarts is restarts

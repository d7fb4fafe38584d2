"""Which policy protects a container."""

from typing import Any

import pytest

from swarmkeep.model.ident import Ref
from swarmkeep.model.policy import Policy, parse_policy
from swarmkeep.plan.protection import find_protection


def policy(name: str, selector: dict[str, Any], *, created: str = "2026-01-01T00:00:00Z", **status: Any) -> Policy:
    return parse_policy(
        {
            "metadata": {"name": name, "namespace": "shop", "creationTimestamp": created},
            "spec": {"selector": selector, "schedule": {"every": "30s"}, "storage": ["main"]},
            "status": status,
        }
    )


def labels(service: str = "shop_redis", place: str = "2", **more: str) -> dict[str, str]:
    return {
        "com.docker.swarm.service.name": service,
        "com.docker.swarm.task.id": "t1",
        "com.docker.swarm.task.name": f"{service}.{place}.t1",
        "com.docker.swarm.node.id": "node1",
        "com.docker.stack.namespace": "shop",
    } | more


@pytest.mark.parametrize(
    ("selector", "status"),
    [
        ({"service": "shop_redis"}, {}),
        ({"stack": "shop"}, {}),
        ({"matchLabels": {"keep": "yes"}}, {}),
        ({"matchLabels": {"only": "on-the-service"}}, {"services": ["shop_redis"]}),
    ],
)
def test_every_kind_of_selector_finds_the_task(selector: dict[str, Any], status: dict[str, Any]) -> None:
    found = find_protection("c", labels(keep="yes"), [policy("p", selector, **status)])
    assert found is not None
    assert found.workload == Ref("shop", "redis.2")
    assert found.task_id == "t1"


@pytest.mark.parametrize("selector", [{"service": "redis"}, {"stack": "sho"}, {"matchLabels": {"keep": "no"}}])
def test_what_does_not_match_is_left_alone(selector: dict[str, Any]) -> None:
    assert find_protection("c", labels(keep="yes"), [policy("p", selector)]) is None


def test_a_plain_container_has_no_protection() -> None:
    assert find_protection("c", {"keep": "yes"}, [policy("p", {"matchLabels": {"keep": "yes"}})]) is None


def test_the_older_of_two_policies_wins() -> None:
    young = policy("a", {"stack": "shop"}, created="2026-01-02T00:00:00Z")
    old = policy("b", {"service": "shop_redis"})
    found = find_protection("c", labels(), [young, old])
    assert found is not None
    assert found.policy is old


def test_a_task_of_a_global_service_is_named_after_its_node() -> None:
    found = find_protection("c", labels(place="node1"), [policy("p", {"stack": "shop"})])
    assert found is not None
    assert found.workload == Ref("shop", "redis.node1")


def test_a_service_name_with_dots_in_its_task_name_is_still_read() -> None:
    found = find_protection("c", labels(service="my.redis"), [policy("p", {"service": "my.redis"})])
    assert found is not None
    assert found.workload.name == "my.redis.2"


@pytest.mark.parametrize(
    "selector",
    [
        {"container": "web"},
        {"composeProject": "shop"},
        {"containerLabels": {"keep": "yes"}},
        {"containerLabels": {"keep": "yes", "com.docker.compose.project": "shop"}},
    ],
)
def test_a_plain_container_is_found_by_name_project_or_labels(selector: dict[str, Any]) -> None:
    found = find_protection("web", {"keep": "yes", "com.docker.compose.project": "shop"}, [policy("p", selector)])
    assert found is not None
    assert (found.workload, found.container) == (Ref("shop", "web"), "web")
    assert (found.service_id, found.task_id) == ("", "")


@pytest.mark.parametrize(
    "selector", [{"container": "we"}, {"composeProject": "other"}, {"containerLabels": {"keep": "yes", "more": "x"}}]
)
def test_another_plain_container_is_left_alone(selector: dict[str, Any]) -> None:
    labels = {"keep": "yes", "com.docker.compose.project": "shop"}
    assert find_protection("web", labels, [policy("p", selector)]) is None


@pytest.mark.parametrize("selector", [{"container": "c"}, {"containerLabels": {"keep": "yes"}}])
def test_a_container_of_a_task_is_never_a_plain_one(selector: dict[str, Any]) -> None:
    assert find_protection("c", labels(keep="yes"), [policy("p", selector)]) is None


def test_a_container_name_that_no_object_may_have_is_made_one() -> None:
    found = find_protection("Web_1", {}, [policy("p", {"container": "Web_1"})])
    assert found is not None
    assert found.workload.name.startswith("web-1-")

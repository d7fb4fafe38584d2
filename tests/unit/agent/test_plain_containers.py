"""What a node says of its plain containers."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from swarmkeep.agent.desired import Desired
from swarmkeep.agent.plain_containers import PlainContainers
from swarmkeep.agent.runtime.containers import Containers, ListedContainer
from swarmkeep.errors import Unavailable
from swarmkeep.plan.protection import SERVICE_NAME

from ..objects import policy


class Docker:
    """Lists what it was given, or does not answer."""

    def __init__(self, *listed: ListedContainer) -> None:
        self.listed = list(listed)
        self.away = False

    async def list_all(self) -> list[ListedContainer]:
        if self.away:
            raise Unavailable("Docker does not answer")
        return self.listed


def reporter(docker: Docker, *selectors: dict[str, Any]) -> PlainContainers:
    known = asyncio.Event()
    known.set()
    policies = [policy(f"p{number}", selector=selector) for number, selector in enumerate(selectors)]
    desired = SimpleNamespace(known=known, policies={item.ref: item for item in policies})
    return PlainContainers(cast(Containers, docker), cast(Desired, desired))


async def test_it_names_what_policies_select_with_all_of_those_policies() -> None:
    docker = Docker(
        ListedContainer("1", "web", {"keep": "yes"}, True),
        ListedContainer("2", "other", {}, True),
        ListedContainer("3", "web.1.x", {"keep": "yes", SERVICE_NAME: "web"}, True),
        ListedContainer("4", "db", {"keep": "yes"}, False),
    )
    status = await reporter(docker, {"container": "web"}, {"containerLabels": {"keep": "yes"}}).status()
    assert status == {
        "containers": [
            {"name": "db", "id": "4", "running": False, "policies": ["default/p1"]},
            {"name": "web", "id": "1", "running": True, "policies": ["default/p0", "default/p1"]},
        ]
    }


async def test_without_a_policy_for_containers_nobody_is_asked() -> None:
    docker = Docker()
    docker.away = True
    assert await reporter(docker, {"service": "web"}).status() == {"containers": []}


async def test_while_docker_is_away_the_report_stays_as_it_was() -> None:
    docker = Docker(ListedContainer("1", "web", {}, True))
    plain = reporter(docker, {"container": "web"})
    docker.away = True
    assert await plain.status() == {}
    docker.away = False
    before = await plain.status()
    docker.away = True
    assert await plain.status() == before

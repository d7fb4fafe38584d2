"""Records of versions reach the API; one that it refuses stops neither the others nor the agent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from swarmkeep.agent import records as module
from swarmkeep.agent.journal import Journal
from swarmkeep.agent.records import Records, checkpoint_record
from swarmkeep.apiserver.authn import Role, User
from swarmkeep.apiserver.authz import Access, write_denial
from swarmkeep.errors import SwarmKeepError
from swarmkeep.kube.answers import ApiForbidden, ApiInvalid, ApiUnavailable
from swarmkeep.kube.client import Client
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT, GROUP, LABEL_NODE, Kind

from ..controllers.fake_api import FakeApi

REF = Ref("default", "redis.1")


class Api(FakeApi):
    """With the API server's own rules about who may write a checkpoint, for the agent of n1."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals: list[SwarmKeepError] = []
        """What the next writes are answered with."""

    async def create(
        self, kind: Kind, body: Mapping[str, Any], namespace: str | None = None, **more: Any
    ) -> dict[str, Any]:
        if self.refusals:
            raise self.refusals.pop(0)
        return await super().create(kind, body, namespace, **more)

    async def patch(
        self, kind: Kind, name: str, patch: Mapping[str, Any], namespace: str | None = None, **more: Any
    ) -> dict[str, Any]:
        old = self._find(kind, name, namespace)
        access = Access("patch", GROUP, CHECKPOINT.plural, namespace or "", name)
        if denial := write_denial(User("n1", Role.AGENT), access, old, old, ""):
            raise ApiForbidden(denial)
        return await super().patch(kind, name, patch, namespace, **more)

    def phases(self) -> dict[str, str]:
        """Of the checkpoints that n1 has written, by name."""
        return {
            ref.name: obj.get("status", {}).get("phase", "")
            for (_, ref), obj in sorted(self.objects.items())
            if obj["metadata"]["labels"][LABEL_NODE] == "n1"
        }


def record(number: int, name: str = "") -> dict[str, Any]:
    return checkpoint_record(
        name=name or f"redis.1-v{number}",
        workload=REF,
        policy="redis",
        node="n1",
        reason="Schedule",
        status={"phase": "Stored", "version": number, "node": "n1"},
    )


def of_another_node(name: str, phase: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "labels": {LABEL_NODE: "n1"}}
    return {"metadata": metadata, "spec": {"workload": "redis.1"}, "status": {"phase": phase, "node": "n2"}}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)


@contextlib.asynccontextmanager
async def delivering(api: Api, folder: Path) -> AsyncIterator[Records]:
    """Records at work; whatever ends them fails the test."""
    records = Records(cast(Client, api), Journal(folder))
    task = asyncio.create_task(records.run())
    try:
        yield records
        await asyncio.sleep(0.1)
        assert not task.done()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def left(folder: Path) -> list[str]:
    return [key for key, _ in Journal(folder).items()]


async def test_what_was_recorded_without_the_api_is_delivered_by_the_next_agent(tmp_path: Path) -> None:
    api = Api()
    api.error = ApiUnavailable("away")
    async with delivering(api, tmp_path) as records:
        records.add(record(1))
    assert left(tmp_path) == ["default/redis.1-v1"]
    api.error = None
    async with delivering(api, tmp_path):
        pass
    assert api.phases() == {"redis.1-v1": "Stored"}
    assert left(tmp_path) == []


async def test_an_object_that_goes_in_the_middle_is_made_again(tmp_path: Path) -> None:
    class Vanishing(Api):
        async def patch(self, kind: Kind, name: str, *args: Any, **more: Any) -> dict[str, Any]:
            # Somebody deletes it between the create that finds it and the patch that does not.
            if not self.vanished:
                self.vanished = True
                del self.objects[kind.plural, Ref("default", name)]
            return await super().patch(kind, name, *args, **more)

        vanished = False

    api = Vanishing()
    api.put(CHECKPOINT, {**of_another_node("redis.1-v1", ""), "status": {}})
    async with delivering(api, tmp_path) as records:
        records.add(record(1))
    assert api.phases() == {"redis.1-v1": "Stored"}
    assert left(tmp_path) == []


async def test_a_version_for_a_wish_that_went_to_another_node_is_listed_under_its_own_name(tmp_path: Path) -> None:
    api = Api()
    api.put(CHECKPOINT, of_another_node("before-upgrade", "Pending"))
    async with delivering(api, tmp_path) as records:
        records.add(record(1, "before-upgrade"))
        records.add(record(2))
    assert api.objects["checkpoints", Ref("default", "before-upgrade")]["status"] == {"phase": "Pending", "node": "n2"}
    assert api.phases() == {"before-upgrade": "Pending", "redis.1-v1": "Stored", "redis.1-v2": "Stored"}
    assert left(tmp_path) == []


async def test_a_version_that_another_node_deletes_is_left_to_it(tmp_path: Path) -> None:
    api = Api()
    api.put(CHECKPOINT, of_another_node("redis.1-v1", "Deleting"))
    async with delivering(api, tmp_path) as records:
        records.add(record(1))
        records.add(record(2))
    assert api.phases() == {"redis.1-v1": "Deleting", "redis.1-v2": "Stored"}
    assert left(tmp_path) == []


async def test_a_certificate_that_may_not_write_loses_no_record(tmp_path: Path) -> None:
    api = Api()
    api.refusals = [ApiForbidden("the certificate has expired")] * 5
    async with delivering(api, tmp_path) as records:
        records.add(record(1))
        records.add(record(2))
    assert api.phases() == {"redis.1-v1": "Stored", "redis.1-v2": "Stored"}
    assert left(tmp_path) == []


async def test_a_record_that_makes_no_sense_to_the_api_does_not_hold_up_the_others(tmp_path: Path) -> None:
    api = Api()
    api.refusals = [ApiInvalid("no such field")]
    async with delivering(api, tmp_path) as records:
        records.add(record(1))
        records.add(record(2))
    assert api.phases() == {"redis.1-v2": "Stored"}
    assert left(tmp_path) == []

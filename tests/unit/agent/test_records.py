"""Records of versions on their way to the API."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from swarmkeep.agent.journal import Journal
from swarmkeep.agent.records import Records, checkpoint_record
from swarmkeep.kube.answers import AlreadyExists, ApiForbidden, ApiInvalid
from swarmkeep.kube.client import Client
from swarmkeep.model.ident import Ref


def record(number: int) -> dict[str, Any]:
    return checkpoint_record(
        name=f"redis.1-v{number}",
        workload=Ref("default", "redis.1"),
        policy="redis",
        node="n1",
        reason="Schedule",
        status={"phase": "Stored", "version": number},
    )


class Api:
    """Version 1 is there already, and another node's."""

    def __init__(self, refusal: Exception) -> None:
        self.refusal = refusal
        self.written: list[str] = []

    async def create(self, kind: object, body: dict[str, Any], namespace: str) -> None:
        if body["metadata"]["name"] == "redis.1-v1":
            raise AlreadyExists("it is there", status={"reason": "AlreadyExists"})

    async def patch(self, kind: object, name: str, patch: Any, namespace: str, **_: object) -> None:
        if name == "redis.1-v1":
            raise self.refusal
        self.written.append(name)


@pytest.mark.parametrize("refusal", [ApiForbidden("another node's"), ApiInvalid("no")])
async def test_a_record_that_is_refused_for_good_stops_no_other(tmp_path: Path, refusal: Exception) -> None:
    api, journal = Api(refusal), Journal(tmp_path)
    records = Records(cast(Client, api), journal)
    records.add(record(1))
    records.add(record(2))
    task = asyncio.create_task(records.run())
    for _ in range(500):
        await asyncio.sleep(0.01)
        if not dict(journal.items()):
            break
    assert not dict(journal.items())
    assert not task.done()
    assert api.written == ["redis.1-v2"]
    task.cancel()

"""What is said of copies on the Checkpoint objects."""

from __future__ import annotations

from typing import Any

import pytest

from swarmkeep.agent.copy_reports import CopyReports, Entry, with_entry
from swarmkeep.errors import Unavailable
from swarmkeep.kube.client import ObjectList
from swarmkeep.model.checkpoint import CopyState
from swarmkeep.model.kinds import CHECKPOINT, Kind

from ..controllers.fake_api import FakeApi
from ..objects import NOW, stamp
from .places import WL

STORED = {"name": "main", "state": "Stored", "storedAt": stamp(9), "bytes": 5}
DONE = Entry("far", CopyState.STORED, NOW, 3)


def status(*locations: dict[str, Any], phase: str = "Stored", node: str = "n1") -> dict[str, Any]:
    return {"phase": phase, "version": 1, "node": node, "location": "main", "locations": list(locations)}


@pytest.mark.parametrize(
    ("before", "entry", "phase", "far"),
    [
        (
            [STORED, {"name": "far", "state": "Pending"}],
            DONE,
            "Replicated",
            {"name": "far", "state": "Stored", "storedAt": stamp(0), "bytes": 3},
        ),
        (
            [STORED, {"name": "far", "state": "Pending"}],
            Entry("far", CopyState.STORED),
            "Replicated",
            {"name": "far", "state": "Stored", "storedAt": stamp(0)},
        ),
        (
            [STORED, {"name": "far", "state": "Pending"}],
            Entry("far", CopyState.FAILED, message="damaged"),
            "Stored",
            {"name": "far", "state": "Failed", "message": "damaged"},
        ),
        (
            [STORED],
            Entry("far", CopyState.PENDING),
            "Stored",
            {"name": "far", "state": "Pending"},
        ),
        (
            [STORED, {"name": "far", "state": "Stored", "storedAt": stamp(5)}],
            Entry("far", CopyState.PENDING),
            "Stored",
            {"name": "far", "state": "Pending"},
        ),
    ],
)
def test_the_phase_follows_from_what_all_locations_have(
    before: list[dict[str, Any]], entry: Entry, phase: str, far: dict[str, Any]
) -> None:
    assert with_entry(status(*before), entry, NOW) == {"locations": [STORED, far], "phase": phase}


def test_what_is_said_already_is_not_said_again() -> None:
    there = {"name": "far", "state": "Stored", "storedAt": stamp(5), "bytes": 3}
    assert with_entry(status(STORED, there), Entry("far", CopyState.STORED), NOW) is None
    pending = {"name": "far", "state": "Pending", "message": "newer versions went first"}
    assert with_entry(status(STORED, pending), Entry("far", CopyState.PENDING, message=pending["message"]), NOW) is None


def test_a_version_from_before_there_could_be_several_locations_has_its_one() -> None:
    old = {"phase": "Stored", "version": 1, "location": "main"}
    changed = with_entry(old, Entry("far", CopyState.PENDING), NOW)
    assert changed is not None
    assert changed["locations"] == [{"name": "main", "state": "Stored"}, {"name": "far", "state": "Pending"}]


class Api(FakeApi):
    """Lists by label as well."""

    async def list(self, kind: Kind, namespace: str | None = None, *, labels: str = "") -> ObjectList:
        return await super().list(kind, namespace)


def api_with(**fields: Any) -> Api:
    api = Api()
    pending = {"name": "far", "state": "Pending"}
    api.put(
        CHECKPOINT,
        {
            "metadata": {"name": "redis.1-v1", "namespace": "default"},
            "spec": {"workload": "redis.1"},
            "status": status(STORED, pending, **fields),
        },
    )
    return api


def phase(api: Api) -> str:
    ((_, obj),) = api.objects.items()
    return str(obj["status"]["phase"])


async def test_a_copy_is_told_once_and_what_has_no_object_yet_is_tried_again() -> None:
    api: Any = api_with()
    reports = CopyReports(api, "n1")
    assert await reports.tell(WL, {1: DONE, 2: DONE}) == {2}
    assert phase(api) == "Replicated"
    writes = api.writes
    assert await reports.tell(WL, {1: Entry("far", CopyState.STORED)}) == frozenset()
    assert api.writes == writes


@pytest.mark.parametrize("fields", [{"node": "n2"}, {"phase": "Deleting"}])
async def test_nothing_is_written_over_what_is_somebody_elses(fields: dict[str, Any]) -> None:
    api: Any = api_with(**fields)
    assert await CopyReports(api, "n1").tell(WL, {1: DONE}) == frozenset()
    assert api.writes == 0


async def test_without_the_api_all_is_told_later() -> None:
    api: Any = api_with()
    reports = CopyReports(api, "n1")
    api.error = Unavailable("away")
    assert await reports.tell(WL, {1: DONE}) == {1}
    api.error = None
    assert await reports.tell(WL, {1: DONE}) == frozenset()
    assert phase(api) == "Replicated"

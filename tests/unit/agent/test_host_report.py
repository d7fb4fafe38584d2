"""What an agent says of its host beside its features."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarmkeep.agent import host_report as module
from swarmkeep.agent.host_report import HostReport, clock_offset_s, cpu_features, docker_status, image_list
from swarmkeep.agent.runtime.containers import ListedContainer
from swarmkeep.agent.runtime.disk_space import STEPS, read_space
from swarmkeep.agent.runtime.facts import ContainerFacts, read_facts
from swarmkeep.errors import Unavailable
from swarmkeep.model.node import IMAGES_TOLD

from .runtime.test_facts import changed

NOON = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def moment(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("before_s", "after_s", "expected"),
    [
        # The server says 12:00:00, which may mean anything up to a second more.
        (0.0, 0.1, 0.0),
        (0.9, 1.0, 0.0),
        (-0.4, -0.3, 0.0),
        (3.5, 3.5, 3.0),
        (-59.5, -59.5, -60.0),
        # An answer that took long says less.
        (0.0, 6.0, 0.0),
        (10.0, 16.0, 12.0),
    ],
)
def test_clocks_are_compared_as_far_as_whole_seconds_and_a_slow_answer_allow(
    before_s: float, after_s: float, expected: float
) -> None:
    assert clock_offset_s(moment(before_s), moment(after_s), NOON) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: sse avx sse\n\nprocessor\t: 1\nflags\t\t: other\n", ["avx", "sse"]),
        ("processor : 0\nFeatures\t: fp asimd\n", ["asimd", "fp"]),
        ("", []),
    ],
)
def test_processor_features_are_those_of_the_first(text: str, expected: list[str]) -> None:
    assert cpu_features(text) == expected


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (
            {
                "DefaultRuntime": "swarmkeep",
                "Runtimes": {"swarmkeep": {"path": "/b/swarmkeep-runtime"}},
                "Driver": "overlay2",
            },
            {"runtime": {"name": "swarmkeep", "path": "/b/swarmkeep-runtime"}, "storageDriver": "overlay2"},
        ),
        (
            {"DefaultRuntime": "runc", "Runtimes": {"runc": {}}},
            {"runtime": {"name": "runc", "path": "runc"}, "storageDriver": ""},
        ),
        ({}, {"runtime": {"name": "", "path": ""}, "storageDriver": ""}),
    ],
)
def test_docker_is_asked_for_its_runtime(info: dict[str, Any], expected: dict[str, Any]) -> None:
    assert docker_status(info) == expected


def test_a_report_names_a_bounded_number_of_images() -> None:
    many = {f"image:{number:04}": "sha256:x" for number in range(1000)}
    listed = image_list(many)
    assert len(listed) == IMAGES_TOLD
    assert listed[0] == {"name": "image:0000", "id": "sha256:x"}


def test_room_is_told_roughly(tmp_path: Path) -> None:
    space = read_space(tmp_path)
    assert space["path"] == str(tmp_path)
    assert 0 < space["freeBytes"] <= space["totalBytes"]
    assert space["freeBytes"] % (space["totalBytes"] // STEPS) == 0
    assert read_space(tmp_path / "absent") == {}


class Docker:
    def __init__(self) -> None:
        self.away = False

    async def info(self) -> Mapping[str, Any]:
        if self.away:
            raise Unavailable("Docker does not answer")
        return {"DefaultRuntime": "runc", "Driver": "overlay2"}

    async def images(self) -> Mapping[str, str]:
        return {"redis:7": "sha256:1"}

    async def volumes(self) -> list[str]:
        return ["data"]

    async def networks(self) -> list[Mapping[str, Any]]:
        return [{"Name": "bridge"}, {"Name": "shop", "Driver": "overlay", "Scope": "swarm", "Attachable": True}]

    async def list_running(self) -> list[ContainerFacts]:
        return [read_facts(changed(HostConfig__Memory=1 << 20))]

    async def list_all(self) -> list[ListedContainer]:
        return [
            ListedContainer("1", "db", {}, running=False),
            ListedContainer("2", "redis.1.x", {"com.docker.swarm.service.name": "redis"}, running=True),
        ]


class Api:
    """A transport whose server's clock is an hour behind."""

    def __init__(self) -> None:
        self.away = False

    async def request(self, *_: Any, **__: Any) -> Any:
        if self.away:
            raise Unavailable("no server")
        behind = datetime.now(UTC) - timedelta(hours=1)
        return SimpleNamespace(headers={"Date": behind.strftime("%a, %d %b %Y %H:%M:%S GMT")})


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFRESH_S", 0.0)


async def test_what_does_not_answer_keeps_what_it_said(tmp_path: Path, no_pause: None) -> None:
    docker, api = Docker(), Api()
    report = HostReport(SimpleNamespace(transport=api), docker, {"state": tmp_path})  # type: ignore[arg-type]
    first = await report.status()
    assert first["storageDriver"] == "overlay2"
    assert first["images"] == [{"name": "redis:7", "id": "sha256:1"}]
    assert first["volumes"] == ["data"]
    assert [network["name"] for network in first["networks"]] == ["shop"]
    assert (first["taken"]["running"], first["taken"]["names"]) == (1, ["db"])
    assert first["capacity"]["freeMemoryBytes"] <= first["capacity"]["memoryBytes"]
    assert abs(first["clockOffsetSeconds"] - 3600) <= 1
    assert [disk["name"] for disk in first["disks"]] == ["state"]
    assert isinstance(first["criuCheck"]["passed"], bool)
    docker.away = api.away = True
    second = await report.status()
    assert {key: second[key] for key in ("storageDriver", "images", "clockOffsetSeconds")} == {
        key: first[key] for key in ("storageDriver", "images", "clockOffsetSeconds")
    }


async def test_a_report_is_made_anew_only_after_a_while(tmp_path: Path) -> None:
    docker = Docker()
    report = HostReport(SimpleNamespace(transport=Api()), docker, {})  # type: ignore[arg-type]
    first = await report.status()
    docker.away = True
    assert await report.status() == first


async def test_a_file_system_that_hangs_holds_one_thread_and_no_report(
    tmp_path: Path, no_pause: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, looks = threading.Event(), []

    def hang(path: Path) -> dict[str, Any]:
        looks.append(path)
        if path == tmp_path / "hangs":
            release.wait(30)
        return {"path": str(path), "totalBytes": 100, "freeBytes": 50}

    monkeypatch.setattr(module, "read_space", hang)
    monkeypatch.setattr(module, "SPACE_LIMIT_S", 0.05)
    folders = {"staging": tmp_path / "hangs", "state": tmp_path}
    report = HostReport(SimpleNamespace(transport=Api()), Docker(), folders)  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(20):
            for _ in range(3):
                assert [disk["name"] for disk in (await report.status())["disks"]] == ["state"]
        assert looks.count(tmp_path / "hangs") == 1
    finally:
        release.set()
    await asyncio.sleep(0.1)
    assert {disk["name"] for disk in (await report.status())["disks"]} == {"staging", "state"}

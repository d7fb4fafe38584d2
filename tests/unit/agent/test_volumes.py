"""Which volumes a version takes along, what is refused in words, and who else uses them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarmkeep.agent.journal import Journal
from swarmkeep.agent.runtime.file_copy import no_check
from swarmkeep.agent.runtime.volumes import FOLDER, INDEX, Volume, VolumeCopies, VolumeUnsupported, read_index
from swarmkeep.agent.volume_switch import Owner, VolumeSwitch
from swarmkeep.agent.volumes import Volumes, VolumeShared, volumes_facts
from swarmkeep.errors import CorruptData, MissingData, NewerFormat, RestoreFailed
from swarmkeep.model.ident import Ref

from ..objects import policy


class Node:
    """Docker's volumes, and containers that use them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.docker_root = root / "docker"
        self.running: list[Any] = []
        docker = cast(Any, SimpleNamespace(list_running=self.list_running))
        self.switch = VolumeSwitch(Journal(root / "journal"))
        self.volumes = Volumes(docker, self.switch, (self.docker_root, root / "state"))

    async def list_running(self) -> list[Any]:
        return self.running

    def mount(self, name: str, *, read_only: bool = False, driver: str = "local") -> dict[str, Any]:
        path = self.docker_root / "volumes" / name / "_data"
        path.mkdir(parents=True, exist_ok=True)
        return {
            "Type": "volume",
            "Name": name,
            "Source": str(path),
            "Destination": f"/{name}",
            "Driver": driver,
            "RW": not read_only,
        }

    def bind(self, path: Path, *, read_only: bool = False) -> dict[str, Any]:
        return {"Type": "bind", "Source": str(path), "Destination": "/bound", "RW": not read_only}

    def container(self, id: str, *mounts: dict[str, Any], **host: Any) -> Any:
        facts = SimpleNamespace(id=id, name=f"name-of-{id}", raw={"Mounts": list(mounts), "HostConfig": host})
        self.running.append(facts)
        return facts

    async def take(self, facts: Any, *wishes: str) -> list[str]:
        return [str(volume) for volume in await self.volumes.to_take(facts, policy(checkpoint={"volumes": wishes}))]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


async def test_named_volumes_and_listed_folders_are_taken_each_once(node: Node) -> None:
    (node.root / "srv").mkdir()
    srv = node.bind(node.root / "srv")
    anonymous = node.mount("0" * 64)
    facts = node.container("c1", node.mount("data"), node.mount("data"), node.mount("log"), srv, anonymous)
    assert await node.take(facts) == []
    assert await node.take(facts, "data") == ["volume data"]
    assert await node.take(facts, "*") == ["volume data", "volume log"]
    assert await node.take(facts, str(node.root / "srv"), "log") == [f"folder {node.root}/srv", "volume log"]
    assert await node.take(facts, "unknown") == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda node: node.mount("v", driver="rexray"), "the driver rexray keeps it"),
        (lambda node: _with_options(node), "made with options"),
        (lambda node: node.bind(Path("/proc")), "a file system of its own"),
        (lambda node: node.bind(Path("/etc/hostname")), "no folder"),
        (lambda node: node.bind(_made(node.docker_root)), "their own data there"),
        (lambda node: node.bind(node.root), "their own data there"),
        (lambda node: node.bind(_made(node.root / "state" / "x")), "their own data there"),
    ],
)
async def test_what_cannot_be_taken_along_fails_the_version_in_words(node: Node, make: Any, words: str) -> None:
    mount = make(node)
    with pytest.raises(VolumeUnsupported, match=words):
        await node.take(node.container("c1", mount), mount.get("Name") or mount["Source"])


async def test_a_part_of_a_volume_is_not_taken_along(node: Node) -> None:
    part = {"Type": "volume", "Source": "data", "Target": "/data", "VolumeOptions": {"Subpath": "x"}}
    facts = node.container("c1", node.mount("data"), Mounts=[part])
    with pytest.raises(VolumeUnsupported, match="subpath"):
        await node.take(facts, "data")


async def test_a_volume_that_another_container_writes_to_is_not_taken_along(node: Node) -> None:
    facts = node.container("c1", node.mount("data"))
    node.container("c2", node.mount("data", read_only=True))
    assert await node.take(facts, "data") == ["volume data"]
    node.container("c3", node.bind(node.docker_root / "volumes" / "data"))
    with pytest.raises(VolumeShared, match="name-of-c3 may write to it"):
        await node.take(facts, "data")


async def test_a_volume_that_another_container_only_reads_is_not_put_back_under_it(node: Node) -> None:
    facts = node.container("c1", node.mount("data"))
    (volume,) = await node.volumes.to_take(facts, policy(checkpoint={"volumes": ["data"]}))
    assert await node.volumes.in_use(facts, [volume]) == ""
    node.container("c2", node.mount("data", read_only=True))
    assert await node.volumes.in_use(facts, [volume]) == "name-of-c2 to let go of volume data"


async def test_only_what_the_policy_still_names_comes_back(node: Node) -> None:
    facts = node.container("c1", node.mount("data"), node.mount("log"))
    both = await node.volumes.to_take(facts, policy(checkpoint={"volumes": ["*"]}))
    version = node.root / "version"
    capture(both, version)
    found = await node.volumes.to_put(facts, policy(checkpoint={"volumes": ["log", "new"]}), version)
    assert [str(volume) for volume, _ in found] == ["volume log"]
    assert await node.volumes.to_put(facts, policy(), version) == ()
    (node.root / "without").mkdir()
    assert await node.volumes.to_put(facts, policy(checkpoint={"volumes": ["*"]}), node.root / "without") == ()


async def test_of_several_volumes_all_are_switched_or_none(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = node.container("c1", node.mount("a"), node.mount("b"))
    wanted = policy(checkpoint={"volumes": ["*"]})
    version = node.root / "version"
    for name in ("a", "b"):
        (node.docker_root / "volumes" / name / "_data" / "file").write_text("version")
    capture(await node.volumes.to_take(facts, wanted), version)
    for name in ("a", "b"):
        (node.docker_root / "volumes" / name / "_data" / "file").write_text("now")
    owner = Owner(Ref("default", "redis.1"), "svc1")

    def contents() -> list[str]:
        return [(node.docker_root / "volumes" / name / "_data" / "file").read_text() for name in ("a", "b")]

    real = node.switch.switch

    def switch(put: Any) -> None:
        if put.volume.source == "b":
            raise RestoreFailed("no")
        real(put)

    puts = await node.volumes.prepare(owner, 1, await node.volumes.to_put(facts, wanted, version))
    with monkeypatch.context() as patched:
        patched.setattr(node.switch, "switch", switch)
        with pytest.raises(RestoreFailed):
            await node.volumes.switch(puts)
    assert contents() == ["now", "now"]
    puts = await node.volumes.prepare(owner, 1, await node.volumes.to_put(facts, wanted, version))
    await node.volumes.switch(puts)
    assert contents() == ["version", "version"]


async def test_what_is_not_a_volumes_index_is_refused(node: Node) -> None:
    facts = node.container("c1", node.mount("data"))
    version = node.root / "version"
    capture(await node.volumes.to_take(facts, policy(checkpoint={"volumes": ["data"]})), version)
    index = version / FOLDER / INDEX
    good = json.loads(index.read_text())
    for change, error in (
        ({"version": 2}, NewerFormat),
        ({"format": "x"}, CorruptData),
        ({"volumes": [{"type": "volume"}]}, CorruptData),
        ({"volumes": [{"type": "volume", "source": "../../x"}]}, MissingData),
    ):
        index.write_text(json.dumps(good | change))
        with pytest.raises(error):
            read_index(version)
    index.write_text("{")
    with pytest.raises(CorruptData):
        read_index(version)
    index.unlink()
    with pytest.raises(MissingData):
        read_index(version)


def test_a_version_says_which_volumes_it_took(tmp_path: Path) -> None:
    """The index as it is on disk: readers of later times have to understand it."""
    (tmp_path / "data").mkdir()
    volume = Volume("volume", "data", "/var/lib/data", tmp_path / "data", 42)
    capture((volume,), tmp_path / "version")
    assert json.loads((tmp_path / "version" / "volumes" / "index.json").read_text()) == {
        "format": "swarmkeep-volumes",
        "version": 1,
        "volumes": [
            {
                "type": "volume",
                "source": "data",
                "target": "/var/lib/data",
                "folder": "da49403cc839dc51be3298482b4eb1b8",
            }
        ],
    }
    (told,) = volumes_facts([volume])
    assert told == {
        "type": "volume",
        "source": "data",
        "target": "/var/lib/data",
        "path": str(tmp_path / "data"),
        "inode": 42,
    }


def capture(volumes: Any, version: Path) -> None:
    copies = VolumeCopies(volumes, version)
    copies.copy_ahead(no_check)
    copies.capture(no_check)


def _with_options(node: Node) -> dict[str, Any]:
    mount = node.mount("nfs")
    (node.docker_root / "volumes" / "nfs" / "opts.json").write_text("{}")
    return mount


def _made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path

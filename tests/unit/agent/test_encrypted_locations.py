"""Key files on a node: from the StorageLocation to what the Node object says, and to versions under a new key."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from swarmkeep.agent.catalogue import Catalogue
from swarmkeep.agent.damage import KnownDamage
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.rewrapper import INTERVAL_S, Rewrapper
from swarmkeep.errors import KeyFileUnusable, NotAsEncrypted, WrongKey
from swarmkeep.kube.client import Client, ObjectList
from swarmkeep.model.ident import Ref
from swarmkeep.store.keyring import LocationKey

W = Ref("default", "redis.1")
FACTS = {"takenAt": "2026-11-24T12:00:00Z", "specHash": "abc", "serviceID": "s"}
KEYS = {name: LocationKey(bytes([number]) * 31 + b"x") for number, name in enumerate(("one", "two", "three"))}


class Node:
    """A node's key files, the folder that all nodes share, and what the agent sees of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.locations = Locations()
        (root / "store").mkdir(exist_ok=True)
        (root / "version").mkdir(exist_ok=True)
        (root / "version/a").write_bytes(b"a" * 10_000)
        for name, key in KEYS.items():
            self.write(name, key)

    def write(self, name: str, key: LocationKey, mode: int = 0o600) -> None:
        path = self.root / name
        path.write_bytes(base64.b64encode(key.secret))
        path.chmod(mode)

    def specify(self, *names: str, known_id: str | None = None) -> None:
        spec: dict[str, Any] = {"filesystem": {"path": str(self.root / "store")}}
        if names:
            current, *previous = (str(self.root / name) for name in names)
            spec["encryption"] = {"keyFile": current, "previousKeyFiles": previous}
        self.locations.update({"main": {"spec": spec, "status": {"id": known_id} if known_id else {}}})

    async def put(self, version: int) -> None:
        await self.locations.call(
            "main", lambda repository: repository.put(str(W), version, self.root / "version", FACTS), 10.0
        )

    async def report(self) -> dict[str, Any]:
        (report,) = await self.locations.check()
        return report


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(tmp_path)
    yield node
    node.locations.update({})


async def test_a_node_says_which_key_it_encrypts_with(node: Node) -> None:
    node.specify("one")

    report = await node.report()

    assert report["reachable"]
    assert report["encryption"] == {"keyID": KEYS["one"].id}
    await node.put(1)
    assert (node.root / "store/swarmkeep-location").read_text().startswith("swarmkeep-location 2 ")


async def test_a_location_without_encryption_says_nothing_of_keys(node: Node) -> None:
    node.specify()

    assert (await node.report()).keys() == {"name", "reachable", "id", "disk"}


async def test_a_key_file_that_is_missing_or_no_key_makes_the_location_unusable_there(node: Node) -> None:
    (node.root / "one").unlink()
    node.specify("one")

    report = await node.report()
    assert not report["reachable"]
    assert "storagelocation main: there is no key file" in report["message"]
    with pytest.raises(KeyFileUnusable):
        await node.put(1)
    assert list((node.root / "store").iterdir()) == []

    (node.root / "one").write_text("hello")
    assert "holds no key" in (await node.report())["message"]
    node.write("one", KEYS["one"])
    assert (await node.report())["reachable"]


async def test_a_key_file_that_vanishes_is_noticed_at_the_next_look(node: Node) -> None:
    node.specify("one")
    assert (await node.report())["reachable"]

    (node.root / "one").unlink()

    assert "there is no key file" in (await node.report())["message"]


async def test_a_key_file_that_others_can_read_is_said(node: Node) -> None:
    node.write("one", KEYS["one"], 0o644)
    node.specify("one")

    report = await node.report()

    assert report["reachable"]
    assert "(mode 0644): chmod 600" in report["encryption"]["message"]


async def test_encryption_is_not_switched_on_or_off_later(node: Node) -> None:
    node.specify()
    known_id = (await node.report())["id"]
    node.specify("one", known_id=known_id)
    assert "first used without encryption" in (await node.report())["message"]
    with pytest.raises(NotAsEncrypted):
        await node.put(1)

    node.specify(known_id=known_id)
    assert (await node.report())["reachable"]


async def test_a_key_is_changed_without_a_restart_and_versions_follow(node: Node) -> None:
    now = [0.0]
    rewrapper = Rewrapper(node.locations, clock=lambda: now[0])
    node.specify("one")
    await node.report()
    await node.put(1)
    await rewrapper.look()
    assert (await node.report())["encryption"] == {"keyID": KEYS["one"].id, "left": 0}

    node.specify("two", "one")
    assert (await node.report())["encryption"] == {"keyID": KEYS["two"].id}, "nobody has looked with this key yet"
    await rewrapper.look()
    assert (await node.report())["encryption"] == {"keyID": KEYS["two"].id, "left": 0}

    node.specify("two")
    assert (await node.report())["reachable"]
    found = await node.locations.call("main", lambda repository: repository.verify(str(W), 1), 10.0)
    assert found == ()


async def test_another_key_in_the_same_file_is_noticed_and_refused(node: Node) -> None:
    node.specify("one")
    await node.report()
    await node.put(1)

    node.write("one", KEYS["three"])

    report = await node.report()
    assert not report["reachable"]
    assert f"is encrypted with key {KEYS['one'].id}, and this node has only {KEYS['three'].id}" in report["message"]
    with pytest.raises(WrongKey):
        await node.put(2)


async def test_what_a_node_with_older_settings_writes_is_found_within_the_hour(node: Node) -> None:
    now = [0.0]
    rewrapper = Rewrapper(node.locations, clock=lambda: now[0])
    late = Node(node.root)
    late.specify("one")
    await late.put(1)
    node.specify("two", "one")
    await node.report()
    await rewrapper.look()
    await late.put(2)

    await rewrapper.look()
    only_two = Node(node.root)
    only_two.specify("two")
    with pytest.raises(WrongKey):
        await only_two.locations.call("main", lambda repository: repository.manifest(str(W), 2), 10.0)
    now[0] = INTERVAL_S
    await rewrapper.look()

    assert await only_two.locations.call("main", lambda repository: repository.verify(str(W), 2), 10.0) == ()
    late.locations.update({})
    only_two.locations.update({})


async def test_what_cannot_be_rewrapped_is_counted_and_said(node: Node) -> None:
    other = Node(node.root)
    other.specify("one")
    await other.put(1)
    node.specify("two", "one")
    await node.put(2)
    other.specify("one")

    await other.locations.rewrap("main", 10.0)

    encryption = (await other.report())["encryption"]
    assert encryption["left"] == 1
    assert other.locations.under_other_keys() == [(("main",), 1)]
    assert f"is encrypted with key {KEYS['two'].id}" in encryption["message"]
    other.locations.update({})


async def test_a_location_that_is_not_there_now_is_tried_again(node: Node) -> None:
    rewrapper = Rewrapper(node.locations, clock=lambda: 0.0)
    node.specify("one")
    await node.put(1)
    (node.root / "store").rename(node.root / "away")
    await rewrapper.look()
    (node.root / "away").rename(node.root / "store")

    await rewrapper.look()

    assert (await node.report())["encryption"]["left"] == 0


class Silent:
    """An API without Checkpoints."""

    async def list(self, *_: object, **__: object) -> ObjectList:
        return ObjectList([], "1")


async def test_a_newest_version_without_its_key_is_waited_for_and_an_older_one_is_passed_over(node: Node) -> None:
    """To restore an older one, or to start fresh, because a key file is late would throw away what happened since."""
    client = cast("Client", Silent())
    catalogue = Catalogue(client, node.locations, KnownDamage(client))
    other = Node(node.root)
    node.specify("one")
    await node.put(1)
    other.specify("two", "one")
    await other.put(2)

    with pytest.raises(WrongKey):
        await catalogue.look(["main"], W, "svc")
    await node.put(3)
    assert [(item.number, item.usable) for item in (await catalogue.look(["main"], W, "svc")).candidates] == [
        (3, True),
        (2, False),
        (1, True),
    ]
    other.locations.update({})

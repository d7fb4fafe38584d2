"""A volume has its old content or the new one, whole, and what was there is never lost - wherever the agent dies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent import volume_switch as module
from swarmkeep.agent.journal import Journal
from swarmkeep.agent.runtime import layer
from swarmkeep.agent.runtime.volumes import Volume
from swarmkeep.agent.volume_switch import BEFORE, NEW, Owner, Put, VolumeSwitch
from swarmkeep.errors import RestoreFailed, StorageFull
from swarmkeep.model.ident import Ref

REDIS = Owner(Ref("default", "redis.1"), "svc1")
OTHER = Owner(Ref("default", "other.1"), "svc2")


class Died(BaseException):
    """The agent's process ends here."""


class Disk:
    """One volume of a node, and versions of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "volumes" / "data" / "_data"
        self.path.mkdir(parents=True)

    @property
    def volume(self) -> Volume:
        return Volume("volume", "data", "/data", self.path, self.path.stat().st_ino)

    def switch(self) -> VolumeSwitch:
        return VolumeSwitch(Journal(self.root / "journal"))

    def write(self, text: str) -> None:
        """As a process does that has the volume."""
        for name in ("a", "b"):
            (self.path / name).write_text(text * 5000)

    def version(self, text: str) -> Path:
        captured = self.root / f"captured-{text}"
        if not captured.exists():
            source = self.root / f"source-{text}"
            source.mkdir()
            for name in ("a", "b"):
                (source / name).write_text(text * 5000)
            layer.capture_folder(source, captured)
        return captured

    def content(self, path: Path | None = None) -> str:
        """What a folder has; fails when it is not whole."""
        texts = {file.read_text() for file in (path or self.path).iterdir()}
        if not texts:
            return ""
        (text,) = texts
        assert len(text) == 5000 * len(text[:1])
        assert sorted(os.listdir(path or self.path)) == ["a", "b"]
        return text[0]

    def asides(self) -> list[str]:
        return sorted(self.content(path) for path in self.path.parent.iterdir() if BEFORE in path.name)

    def restore(self, number: int, text: str, owner: Owner = REDIS, *, confirm: bool = True) -> Put:
        switch = self.switch()
        put = switch.prepare(owner, number, self.volume, self.version(text))
        switch.switch(put)
        if confirm:
            switch.confirm(put)
        return put

    def taken(self, owner: Owner = REDIS) -> None:
        """A version was taken of what it has now."""
        self.switch().taken(owner, self.path, self.path.stat().st_ino)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_an_empty_volume_gets_the_content_and_nothing_is_set_aside(disk: Disk) -> None:
    put = disk.restore(3, "v")
    assert (disk.content(), disk.asides(), put.known) == ("v", [], True)
    assert sorted(os.listdir(disk.path.parent)) == ["_data"]


def test_content_of_nobody_known_is_set_aside_and_never_removed(disk: Disk) -> None:
    disk.write("f")
    put = disk.restore(3, "v")
    assert not put.known
    assert put.aside is not None
    assert disk.content(put.aside) == "f"
    for number, text in enumerate("wxyz", start=4):
        disk.taken()
        disk.write("l")
        disk.restore(number, text)
    assert disk.content() == "z"
    assert "f" in disk.asides()


@pytest.mark.parametrize("owner", [OTHER, Owner(REDIS.workload, "svc-made-anew")])
def test_content_of_another_workload_or_of_the_service_before_is_not_ones_own(disk: Disk, owner: Owner) -> None:
    disk.write("o")
    disk.taken(owner)
    assert not disk.restore(1, "v").known
    assert disk.asides() == ["o"]


def test_a_volume_that_was_made_anew_under_the_same_name_is_not_ones_own(disk: Disk) -> None:
    disk.write("l")
    disk.taken()
    disk.path.rename(disk.root / "gone")
    disk.path.mkdir()
    disk.write("n")
    assert not disk.restore(1, "v").known
    assert disk.asides() == ["n"]


def test_of_ones_own_content_the_newest_is_kept_and_older_ones_go(disk: Disk) -> None:
    for number, text in enumerate("abc", start=1):
        disk.write("l")
        disk.taken()
        disk.restore(number, text)
    assert disk.content() == "c"
    assert disk.asides() == ["l"]


def test_a_crash_loop_keeps_what_was_there_before_it_and_the_last_try(disk: Disk) -> None:
    disk.write("l")
    disk.taken()
    disk.write("m")
    for number, text in ((9, "c"), (9, "c"), (8, "b"), (7, "a")):
        disk.restore(number, text)
        disk.write("t")
    assert disk.asides() == ["m", "t"]
    # It is well again.
    disk.taken()
    disk.restore(10, "d")
    assert disk.asides() == ["t"]


def test_a_volume_that_has_the_very_content_is_left_alone(disk: Disk) -> None:
    disk.restore(3, "v")
    before = disk.path.stat().st_ino
    put = disk.restore(3, "v")
    assert (put.same, put.aside, disk.path.stat().st_ino) == (True, None, before)
    assert sorted(os.listdir(disk.path.parent)) == ["_data"]


@pytest.mark.parametrize("old", ["", "f", "l"])
def test_a_restore_that_fails_leaves_everything_as_it_was(disk: Disk, old: str) -> None:
    if old:
        disk.write(old)
    if old == "l":
        disk.taken()
    os.chown(disk.path, 1234, 4321)
    before = disk.path.stat()
    for _ in range(3):
        switch = disk.switch()
        put = switch.prepare(REDIS, 3, disk.volume, disk.version("v"))
        switch.switch(put)
        assert disk.content() == "v"
        switch.put_back(put)
        switch.put_back(put)
    after = disk.path.stat()
    assert (after.st_ino, after.st_uid) == (before.st_ino, before.st_uid)
    assert disk.content() == old
    assert sorted(os.listdir(disk.path.parent)) == ["_data"]
    # And it is still known whose it is.
    assert disk.restore(3, "v").known == (old != "f")


def test_without_room_nothing_is_begun(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.write("l")
    monkeypatch.setattr("swarmkeep.agent.room.free_bytes", lambda folder: 100)
    with pytest.raises(StorageFull, match=r"volume data of default/redis\.1 version 3"):
        disk.restore(3, "v")
    assert disk.content() == "l"


def test_a_file_system_that_cannot_exchange_is_said_in_words(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(one: Path, other: Path) -> None:
        raise OSError(22, "Invalid argument")

    disk.write("l")
    monkeypatch.setattr(module, "exchange", refuse)
    with pytest.raises(RestoreFailed, match="cannot exchange two folders"):
        disk.restore(3, "v")
    assert (disk.content(), sorted(os.listdir(disk.path.parent))) == ("l", ["_data"])


# Deaths.

STEPS = (
    (Journal, "write"),
    (Journal, "remove"),
    (Path, "rename"),
    (Path, "mkdir"),
    (module, "exchange"),
    (module, "sync_file_system"),
    (module, "_remove"),
    (layer, "apply"),
)


class Fate:
    """Ends a life before or after one of the things that it does to the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.dies_at = 0
        for owner, name in STEPS:
            monkeypatch.setattr(owner, name, self._around(getattr(owner, name)))

    def _around(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **more: Any) -> Any:
            self._step()
            result = real(*args, **more)
            self._step()
            return result

        return wrapped

    def _step(self) -> None:
        self.count += 1
        if self.count == self.dies_at:
            raise Died

    def live(self, dies_at: int, life: Callable[[], object]) -> bool:
        """Whether it died."""
        self.count, self.dies_at = 0, dies_at
        try:
            life()
        except Died:
            return True
        finally:
            self.dies_at = 0
        return False


@pytest.mark.parametrize("failing", [False, True], ids=["comes up", "fails to come up"])
@pytest.mark.parametrize("old", ["", "f", "l"], ids=["empty", "foreign", "own"])
def test_wherever_the_agent_dies_the_next_try_finishes_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, failing: bool
) -> None:
    def scene(number: int) -> Disk:
        disk = Disk(tmp_path / str(number))
        if old:
            disk.write(old)
        if old == "l":
            disk.taken()
        disk.version("v")
        return disk

    def life(disk: Disk) -> None:
        switch = disk.switch()
        put = switch.prepare(REDIS, 3, disk.volume, disk.version("v"))
        switch.switch(put)
        if failing:
            switch.put_back(put)
        else:
            switch.confirm(put)

    scenes = [scene(0)]
    fate = Fate(monkeypatch)
    assert not fate.live(0, lambda: life(scenes[0]))
    steps = fate.count
    assert steps > 15
    for dies_at in range(1, steps + 1):
        with monkeypatch.context() as calm:
            calm.setattr(fate, "dies_at", 0)
            disk = scene(dies_at)
        assert fate.live(dies_at, lambda disk=disk: life(disk))  # type: ignore[misc]
        # Whoever looks now sees one or the other, whole.
        assert disk.content() in (old, "v")
        disk.restore(3, "v")
        assert disk.content() == "v"
        kept = disk.asides()
        assert kept.count(old) == bool(old)
        assert set(kept) <= {old, "v"}
        assert not [path for path in disk.path.parent.iterdir() if path.name.endswith(NEW)]
        # Nothing piles up: two more incidents.
        for _ in range(2):
            disk.taken()
            disk.write("m")
            disk.restore(4, "w")
        assert len(disk.asides()) <= 1 + ("f" in disk.asides()) + kept.count("v")


def test_a_journal_that_is_lost_costs_room_and_no_content(disk: Disk) -> None:
    disk.write("l")
    disk.taken()
    shutil.rmtree(disk.root / "journal")
    assert not disk.restore(3, "v").known
    disk.write("m")
    shutil.rmtree(disk.root / "journal")
    disk.restore(4, "w")
    assert disk.asides() == ["l", "m"]

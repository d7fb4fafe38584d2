"""The room in which versions are tried: what it says, and that nothing of a trial is left, whatever happens."""

from __future__ import annotations

import asyncio
import errno
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarmkeep.agent import trials as module
from swarmkeep.agent.runtime import isolation
from swarmkeep.agent.runtime.containers import Containers
from swarmkeep.agent.runtime.file_copy import no_check
from swarmkeep.agent.runtime.isolation import LABEL
from swarmkeep.agent.runtime.volumes import Volume, VolumeCopies
from swarmkeep.agent.shim_server import Conversation
from swarmkeep.agent.trials import TrialRefused, Trials
from swarmkeep.errors import CorruptData, NotFound, Unavailable
from swarmkeep.model.checkpoint import Passed

INSPECTION: dict[str, Any] = {
    "Image": "sha256:1",
    "Config": {"Image": "redis@sha256:2"},
    "HostConfig": {},
    "Mounts": [],
}
VOLUME = {"Type": "volume", "Name": "data", "Source": "/nonexistent/data", "Destination": "/data", "RW": True}


class Call:
    """The shim's side of one `create`."""

    def __init__(self, container_id: str, bundle: Path, outcome: dict[str, Any]) -> None:
        self.container_id = container_id
        self.question = {"id": container_id, "bundle": str(bundle)}
        self.waiting_for = ""
        self.answers: list[dict[str, Any]] = []
        self._outcome = outcome

    async def answer(self, reply: dict[str, Any]) -> None:
        self.answers.append(reply)

    async def outcome(self) -> dict[str, Any]:
        return self._outcome


class Docker:
    """A node's Docker, whose runtime asks `handler` about each create."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.handler: Callable[[Any], Any] | None = None
        self.outcome: dict[str, Any] = {"outcome": "restored", "seconds": 0.25}
        self.exit_code: int | None = None
        self.oom = False
        self.gone_at_once = False
        self.left: list[str] = []
        self.removed: list[tuple[str, bool]] = []
        self.bodies: list[dict[str, Any]] = []
        self.calls: list[Call] = []
        self.away = 0
        self.image = True
        self.starting = asyncio.Event()
        self.hangs = asyncio.Event()
        self.hangs.set()

    async def ids_with_label(self, label: str) -> list[str]:
        assert label == LABEL
        if self.away:
            self.away -= 1
            raise Unavailable("no Docker")
        return list(self.left)

    async def ensure_image(self, reference: str) -> None:
        if not self.image:
            raise NotFound(f"there is no image {reference}")

    async def images(self) -> dict[str, str]:
        return {}

    async def create(self, body: dict[str, Any], name: str) -> str:
        assert name.startswith("swarmkeep-trial-")
        self.bodies.append(body)
        self.left.append(f"t{len(self.bodies)}")
        return self.left[-1]

    async def start(self, container_id: str, limit_s: float) -> None:
        bundle = self.folder / "bundle"
        (bundle / "rootfs").mkdir(parents=True, exist_ok=True)
        (bundle / "config.json").write_text(json.dumps({"root": {"path": "rootfs"}}))
        self.starting.set()
        await self.hangs.wait()
        if self.handler is None:
            return
        call = Call(container_id, bundle, self.outcome)
        self.calls.append(call)
        try:
            await self.handler(call)
        except TrialRefused as error:
            raise Unavailable(f"Docker cannot start it: {error}") from error
        if self.gone_at_once:
            raise Unavailable("Docker cannot start it: bind-mount /proc/7/ns/net: no such file")

    async def inspect(self, container_id: str) -> Any:
        return SimpleNamespace(running=self.exit_code is None, exit_code=self.exit_code, oom_killed=self.oom, pid=0)

    async def remove(self, container_id: str, *, volumes: bool = False) -> None:
        self.left.remove(container_id)
        self.removed.append((container_id, volumes))


class Room:
    def __init__(self, folder: Path) -> None:
        self.docker = Docker(folder)
        self.folder = folder / "trials"
        self.run_dir = folder / "run"
        self.docker_root = folder / "docker"
        self.trials = Trials(self.folder, self.run_dir, self.docker_root, cast(Containers, self.docker))
        self.docker.handler = self.trials.before(self._others)
        self.others: list[str] = []

    async def _others(self, conversation: Conversation) -> str:
        self.others.append(conversation.container_id)
        return "unprotected"

    async def attempt(self, volume: str = "", **inspection: Any) -> Any:
        """Tries a version, which has `volume` as the content of a file in the volume data, unless that is empty."""

        async def fetch(target: Path) -> Path:
            if volume:
                data = Volume("volume", "data", "/data", target.with_name("data"), 1)
                data.path.mkdir(parents=True)
                (data.path / "file").write_text(volume)
                copies = VolumeCopies([data], target)
                copies.copy_ahead(no_check)
                copies.capture(no_check)
                shutil.rmtree(data.path)
            for name in ("image", "layer"):
                (target / name).mkdir(parents=True)
            (target / "image" / "pages-1.img").write_bytes(b"x" * 4096)
            return target

        return await self.trials.try_version({**INSPECTION, **inspection}, fetch, "redis.1-v1")

    def assert_clean(self) -> None:
        assert self.docker.left == []
        assert not self.folder.exists() or not list(self.folder.iterdir())
        assert not (self.run_dir / "restore").exists() or not list((self.run_dir / "restore").iterdir())


@asynccontextmanager
async def swept(room: Room) -> AsyncIterator[Room]:
    await room.trials.run()
    yield room
    room.assert_clean()


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    monkeypatch.setattr(module, "STAY_S", 0.05)
    monkeypatch.setattr(module, "POLL_S", 0.01)
    monkeypatch.setattr(module, "SWEEP_RETRY_S", 0.01)
    return Room(tmp_path)


async def test_a_version_that_comes_up_and_stays_passes(room: Room) -> None:
    async with swept(room):
        trial = await room.attempt()
    assert trial.passed is Passed.PASSED
    assert trial.seconds == 0.25
    (call,) = room.docker.calls
    order, done = call.answers
    assert (order["do"], order["lazy"], order["tcp"]) == ("restore", False, "close")
    assert done == {"done": True}
    assert room.docker.removed == [("t1", True)]


async def test_a_restore_that_fails_is_a_failure_with_its_cause(room: Room) -> None:
    room.docker.outcome = {"outcome": "failed", "error": "Can't open file data/log on restore"}
    async with swept(room):
        trial = await room.attempt()
    assert trial.passed is Passed.FAILED
    assert "is not there" in trial.message


@pytest.mark.parametrize(
    ("exit_code", "oom", "inspection", "passed", "words"),
    [
        (3, False, {}, Passed.FAILED, "exit code 3; it had no network"),
        (137, True, {"HostConfig": {"Memory": 1 << 26}}, Passed.FAILED, "for lack of memory"),
        # What it died of is the trial's own doing.
        (137, True, {}, Passed.UNKNOWN, "of which a trial is given little"),
        (3, False, {"Mounts": [VOLUME]}, Passed.UNKNOWN, "tried without the content of volume data"),
    ],
)
async def test_a_process_that_ends_at_once_is_a_failure_unless_the_trial_is_to_blame(
    room: Room, exit_code: int, oom: bool, inspection: dict[str, Any], passed: Passed, words: str
) -> None:
    room.docker.exit_code, room.docker.oom = exit_code, oom
    async with swept(room):
        trial = await room.attempt(**inspection)
    assert trial.passed is passed
    assert words in trial.message


async def test_a_process_that_is_gone_before_docker_sees_it_has_failed(room: Room) -> None:
    room.docker.gone_at_once = True
    async with swept(room):
        assert (await room.attempt()).passed is Passed.FAILED
        assert (await room.attempt(Mounts=[VOLUME])).passed is Passed.UNKNOWN


async def test_a_failure_without_its_volume_says_nothing_and_a_success_says_all(room: Room) -> None:
    async with swept(room):
        assert (await room.attempt(Mounts=[VOLUME])).passed is Passed.PASSED
        room.docker.outcome = {"outcome": "failed", "error": "Can't open file data/log on restore"}
        trial = await room.attempt(Mounts=[VOLUME])
    assert trial.passed is Passed.UNKNOWN
    assert "tried without the content of volume data" in trial.message


async def test_a_volume_that_the_version_took_along_is_there_with_its_content(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real = isolation.isolated

    def seeing(inspection: Any, image_id: str, image_bytes: int, in_place: Any) -> Any:
        seen.append((Path(in_place["/data"]) / "file").read_text())
        return real(inspection, image_id, image_bytes, in_place)

    monkeypatch.setattr(module, "isolated", seeing)
    room.docker.exit_code = 3
    async with swept(room):
        trial = await room.attempt("of the version", Mounts=[VOLUME])
    assert seen == ["of the version"]
    # Nothing was left out that could be to blame.
    assert trial.passed is Passed.FAILED


async def test_what_cannot_be_tried_is_unknown_and_nothing_is_created(room: Room) -> None:
    async with swept(room):
        privileged = await room.attempt(HostConfig={"Privileged": True})
        room.docker.image = False
        imageless = await room.attempt()
        room.docker.image = True
        room.docker.handler = None
        unasked = await room.attempt()
    assert {trial.passed for trial in (privileged, imageless, unasked)} == {Passed.UNKNOWN}
    assert "privileged" in privileged.message
    assert "no image" in imageless.message
    assert "default runtime" in unasked.message
    assert len(room.docker.bodies) == 1


async def test_a_disk_that_is_full_or_a_manifest_without_a_container_is_unknown(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetch(target: Path) -> Path:
        await asyncio.to_thread((target / "image").mkdir, parents=True)
        return target

    async with swept(room):
        empty = await room.trials.try_version({}, fetch, "redis.1-v1")
        odd = await room.attempt("content", Mounts=[{"Type": "volume", "Name": "data"}])
        odder = await room.attempt(HostConfig=["odd"])
        real = Path.mkdir

        def full(path: Path, *args: Any, **options: Any) -> None:
            if "volumes" in path.parts and room.folder in path.parents and "version" not in path.parts:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            real(path, *args, **options)

        monkeypatch.setattr(Path, "mkdir", full)
        roomless = await room.attempt("content", Mounts=[VOLUME])
        monkeypatch.undo()

        def dead(_: Path) -> int:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(module, "_folder_bytes", dead)
        unreadable = await room.attempt()
    assert {trial.passed for trial in (empty, odd, odder, roomless, unreadable)} == {Passed.UNKNOWN}
    for trial in (empty, odd, odder):
        assert "configuration in the version is not understood" in trial.message
    assert "no space left on this node" in roomless.message
    assert "Input/output error" in unreadable.message
    assert room.docker.bodies == []


async def test_a_version_that_cannot_be_read_leaves_nothing(room: Room) -> None:
    async def fetch(target: Path) -> Path:
        await asyncio.to_thread(target.mkdir, parents=True)
        raise CorruptData("a hash is wrong")

    async with swept(room):
        with pytest.raises(CorruptData):
            await room.trials.try_version(INSPECTION, fetch, "redis.1-v1")


async def test_whatever_an_agent_that_died_has_left_goes_before_the_first_trial(room: Room) -> None:
    room.docker.left = ["old1", "old2"]
    room.docker.away = 2
    (room.folder / "old" / "version").mkdir(parents=True)
    waiting = asyncio.create_task(room.attempt())
    await asyncio.sleep(0.02)
    assert room.docker.bodies == []
    async with swept(room):
        assert (await waiting).passed is Passed.PASSED
    assert [name for name, _ in room.docker.removed] == ["old1", "old2", "t1"]


async def test_a_trial_that_is_called_off_is_removed(room: Room) -> None:
    async with swept(room):
        room.docker.hangs.clear()
        trying = asyncio.create_task(room.attempt())
        await room.docker.starting.wait()
        trying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trying


async def test_a_trial_of_an_agent_that_died_never_starts_and_others_are_not_concerned(room: Room) -> None:
    for name, labels in (("orphan", {LABEL: "yes"}), ("real", {})):
        folder = room.docker_root / "containers" / name
        folder.mkdir(parents=True)
        state = {"Running": False, "ExitCode": 0, "Pid": 0}
        stored = {"ID": name, "Name": f"/{name}", "Created": "2026-01-01T00:00:00Z", "Image": "sha256:1"}
        (folder / "config.v2.json").write_text(json.dumps({**stored, "State": state, "Config": {"Labels": labels}}))
        (folder / "hostconfig.json").write_text("{}")
    handler = room.docker.handler
    assert handler is not None
    with pytest.raises(TrialRefused):
        await handler(Call("orphan", room.folder, {}))
    await handler(Call("real", room.folder, {}))
    await handler(Call("unknown", room.folder, {}))
    assert room.others == ["real", "unknown"]

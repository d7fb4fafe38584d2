"""Restores a version in isolation, to see whether it can be done; and leaves nothing of it behind.

The one room for two doors: `verify: Restore`, which tries versions in storage, and `doctor --try`, which tries a dump
that is thrown away. Docker makes the throw-away container and the runtime shim restores it, as in an emergency; what
must not be touched is kept from it by runtime/isolation.py. Whatever an agent that died has left is found by its label
and removed by the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from swarmkeep.agent.runtime import layer
from swarmkeep.agent.runtime.bundle import bundle_rootfs
from swarmkeep.agent.runtime.cgroups import NoCgroup, find_freezer
from swarmkeep.agent.runtime.containers import Containers
from swarmkeep.agent.runtime.isolation import LABEL, CannotIsolate, isolated, limit_is_own, stand_ins
from swarmkeep.agent.runtime.restore_errors import explain_restore, is_of_isolation
from swarmkeep.agent.runtime.stand_ins import put_in_place
from swarmkeep.agent.runtime.stored_facts import read_stored_facts
from swarmkeep.agent.runtime.volumes import unpack_volumes
from swarmkeep.agent.shim_server import Conversation, Handler
from swarmkeep.errors import DataError, HostError, NotFound, Unavailable
from swarmkeep.model.checkpoint import Passed
from swarmkeep.model.quantity import format_bytes
from swarmkeep.obs import agent_metrics as metrics
from swarmkeep.plan.verification import Trial

log = structlog.get_logger(__name__)

STAY_S = 5.0
"""How long the processes have to go on after they came up."""
START_LIMIT_S = 330.0
"""The longest that Docker may take to start it: the restore itself has less."""
POLL_S = 0.5
SWEEP_RETRY_S = 5.0
MEMINFO = Path("/proc/meminfo")


class TrialRefused(HostError):
    """A throw-away container must not start: nobody waits for it any more."""

    reason = "TrialRefused"


@dataclass(slots=True)
class _Open:
    """A trial on its way."""

    version: Path
    """Folder with image/ and layer/."""
    seconds: float | None = None
    """How long the restore took; None while it is not done."""
    error: str = ""
    """Why it failed."""


class Trials:
    """One at a time on a node: it costs as much memory as the real one."""

    def __init__(self, folder: Path, run_dir: Path, docker_root: Path, containers: Containers) -> None:
        """`folder` is on a disk, and holds nothing else."""
        self._folder = folder
        self._run_dir = run_dir
        self._docker_root = docker_root
        self._containers = containers
        self._open: dict[str, _Open] = {}
        self._one = asyncio.Lock()
        self._swept = asyncio.Event()

    async def run(self) -> None:
        """Removes what an earlier life of this agent has left. Trials begin after that."""
        while True:
            try:
                for container_id in await self._containers.ids_with_label(LABEL):
                    log.warning("removing a trial that an earlier agent left", container=container_id)
                    await self._containers.remove(container_id, volumes=True)
                break
            except Unavailable as error:
                log.info("cannot look for old trials yet", error=str(error))
                await asyncio.sleep(SWEEP_RETRY_S)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        self._swept.set()

    async def try_version(
        self, inspection: Mapping[str, Any], fetch: Callable[[Path], Awaitable[Path]], what: str
    ) -> Trial:
        """Restores a version of the container with that inspection, and says what came of it.

        `fetch` gets a folder of its own, which does not exist yet and is removed afterwards, and returns where the
        version's image/ and layer/ are. Raises what `fetch` raises; nothing of the trial is left in any case.
        """
        await self._swept.wait()
        async with self._one:
            folder = self._folder / secrets.token_hex(8)
            try:
                version = await fetch(folder / "version")
                trial = await self._try(inspection, version, folder)
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        metrics.TRIALS.labels(str(trial.passed)).inc()
        log.info("tried a version", what=what, result=str(trial.passed), message=trial.message)
        return trial

    def before(self, starts: Handler) -> Handler:
        """Answers `create` for trials, and hands all others on."""

        async def converse(conversation: Conversation) -> str:
            trial = self._open.get(conversation.container_id)
            if trial is not None:
                return await self._converse(conversation, trial)
            try:
                facts = await asyncio.to_thread(read_stored_facts, self._docker_root, conversation.container_id)
            except (NotFound, Unavailable):
                # Whoever decides about real containers says what that means.
                return await starts(conversation)
            if LABEL in facts.labels:
                raise TrialRefused("it is a trial of an agent that died, and will be removed")
            return await starts(conversation)

        return converse

    async def _try(self, inspection: Mapping[str, Any], version: Path, folder: Path) -> Trial:
        container_id = ""
        try:
            try:
                body, left_out = await self._prepare(inspection, version, folder)
                own_limit = limit_is_own(inspection)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                text = f"the container's configuration in the version is not understood: {error!r}"
                return Trial(Passed.UNKNOWN, text)
            container_id = await self._containers.create(body, f"swarmkeep-trial-{folder.name}")
            opened = self._open[container_id] = _Open(version)
            try:
                await self._containers.start(container_id, START_LIMIT_S)
            except (Unavailable, NotFound) as error:
                if opened.seconds is not None:
                    return _ended_at_once(opened.seconds, str(error), left_out)
                if not opened.error:
                    return Trial(Passed.UNKNOWN, f"Docker could not start a container for it: {error}")
            if opened.error:
                return _failed(opened.error, left_out)
            if opened.seconds is None:
                text = "this node's runtime did not ask its agent: is swarmkeep-runtime Docker's default runtime?"
                return Trial(Passed.UNKNOWN, text)
            return await self._watch(container_id, opened.seconds, left_out, own_limit=own_limit)
        except (CannotIsolate, Unavailable, NotFound, HostError, OSError) as error:
            return Trial(Passed.UNKNOWN, str(error))
        finally:
            if container_id:
                await asyncio.shield(self._remove(container_id))

    async def _prepare(
        self, inspection: Mapping[str, Any], version: Path, folder: Path
    ) -> tuple[Mapping[str, Any], list[str]]:
        """The order to create the throw-away container, and what it has to do without."""
        image_bytes = await asyncio.to_thread(_folder_bytes, version / "image")
        _require_memory(image_bytes)
        unpacked = await asyncio.to_thread(unpack_volumes, version, inspection, folder / "volumes")
        places = [place for place in stand_ins(inspection) if place.target not in unpacked]
        in_place, left_out = await asyncio.to_thread(put_in_place, places, folder / "mounts")
        image_id = await self._image(inspection)
        return isolated(inspection, image_id, image_bytes, {**in_place, **unpacked}), left_out

    async def _watch(self, container_id: str, seconds: float, left_out: list[str], *, own_limit: bool) -> Trial:
        """Whether what came up goes on."""
        loop = asyncio.get_running_loop()
        came_up_at = loop.time()
        most = 0
        while True:
            facts = await self._containers.inspect(container_id)
            if not facts.running:
                lived = loop.time() - came_up_at
                text = f"it came up, and ended {lived:.1f} s later with exit code {facts.exit_code}"
                if facts.oom_killed:
                    text += " for lack of memory"
                    if own_limit:
                        return Trial(Passed.UNKNOWN, f"{text}, of which a trial is given little", most, seconds)
                if left_out:
                    text += f"; {_without(left_out)}"
                    return Trial(Passed.UNKNOWN, text, most, seconds)
                return Trial(Passed.FAILED, f"{text}; it had no network", most, seconds)
            # Should it have ended since, the next look shows how.
            with contextlib.suppress(NoCgroup):
                most = max(most, len(find_freezer(facts.pid, container_id).processes()))
            if loop.time() - came_up_at >= STAY_S:
                count = f"{most} process{'es' if most != 1 else ''} came up"
                beside = f" ({_without(left_out)})" if left_out else ""
                text = f"{count} within {seconds:.2f} s and went on for {STAY_S:g} s{beside}"
                return Trial(Passed.PASSED, text, most, seconds)
            await asyncio.sleep(POLL_S)

    async def _converse(self, conversation: Conversation, trial: _Open) -> str:
        """Tells the shim to restore, once, and hears how that went."""
        conversation.waiting_for = "the files of a trial"
        work = self._run_dir / "restore" / conversation.container_id
        try:
            rootfs = bundle_rootfs(Path(str(conversation.question["bundle"])))
            await asyncio.to_thread(layer.apply, trial.version / "layer", rootfs)
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
        except (DataError, HostError, OSError, ValueError, KeyError) as error:
            trial.error = str(error)
            raise TrialRefused(trial.error) from error
        order = {"do": "restore", "image": str(trial.version / "image"), "work": str(work), "lazy": False}
        await conversation.answer({**order, "tcp": "close"})
        outcome = await conversation.outcome()
        if outcome.get("outcome") != "restored":
            trial.error = str(outcome.get("error") or "the runtime did not say why")
            raise TrialRefused(trial.error)
        trial.seconds = float(outcome.get("seconds") or 0.0)
        await conversation.answer({"done": True})
        return "restored"

    async def _image(self, inspection: Mapping[str, Any]) -> str:
        """Id of the container's image, which is on this node then. Raises NotFound, Unavailable, CannotIsolate."""
        image_id, reference = str(inspection["Image"]), str((inspection.get("Config") or {}).get("Image") or "")
        try:
            await self._containers.ensure_image(image_id)
        except (NotFound, Unavailable):
            await self._containers.ensure_image(reference)
            if (await self._containers.images()).get(reference, image_id) != image_id:
                raise CannotIsolate(f"this node has another image under the name {reference}") from None
        return image_id

    async def _remove(self, container_id: str) -> None:
        """An agent that ends before this is done leaves it to the next one."""
        try:
            await self._containers.remove(container_id, volumes=True)
        except Unavailable as error:
            log.warning("cannot remove a trial, its container is left to the next agent", error=str(error))
        finally:
            self._open.pop(container_id, None)
            shutil.rmtree(self._run_dir / "restore" / container_id, ignore_errors=True)


def _failed(error: str, left_out: list[str]) -> Trial:
    text = explain_restore(error)
    if left_out:
        return Trial(Passed.UNKNOWN, f"{text}; {_without(left_out)}")
    return Trial(Passed.UNKNOWN if is_of_isolation(error) else Passed.FAILED, text)


def _ended_at_once(seconds: float, error: str, left_out: list[str]) -> Trial:
    """Docker takes over what came up a moment later, and nothing was there any more."""
    text = f"it came up, and had ended before Docker could take it over; it had no network ({error})"
    if left_out:
        return Trial(Passed.UNKNOWN, f"{text}; {_without(left_out)}", 0, seconds)
    return Trial(Passed.FAILED, text, 0, seconds)


def _without(left_out: list[str]) -> str:
    return f"tried without the content of {', '.join(sorted(left_out))}"


def _require_memory(image_bytes: int) -> None:
    """Raises HostError when the node has no memory for another copy."""
    try:
        lines = MEMINFO.read_text().splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return
    if available < 2 * image_bytes:
        raise HostError(
            f"this node has {format_bytes(available)} of memory left, and a trial needs twice the version's "
            f"{format_bytes(image_bytes)}"
        )


def _folder_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())

"""Makes containers stand still and go on, through their cgroup. Used for versions and for fencing.

A container never stands still because the agent died: while a version is taken a small guard process holds the other
end of a pipe, and thaws when the agent - and the dump that it may have started - is gone. What neither could thaw is
found by the next agent in the run folder. A container that is fenced has no guard: it must not go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from swarmkeep.agent.runtime.cgroups import FreezerCgroup, NoCgroup, find_freezer
from swarmkeep.errors import HostError

log = structlog.get_logger(__name__)

FREEZE_LIMIT_S = 2.0
"""The longest until every thread stands still; a thread in an uninterruptible wait may take that long."""
THAW_AGAIN_S = 0.25
"""A v1 cgroup that is still FREEZING after this is thawed and frozen anew, as runc does: it can hang halfway."""

# Reads until the pipe closes. A last word of `done` means that somebody else has thawed it.
_GUARD = """
trap '' HUP INT TERM
word=
while read -r line; do word=$line; done
[ "$word" = done ] && exit 0
printf %s "$2" >"$1"
rm -f "$3"
"""


class FreezeFailed(HostError):
    """A container did not stand still in time; it runs on."""

    reason = "FreezeFailed"


@dataclass(slots=True)
class _Guard:
    process: asyncio.subprocess.Process
    pipe: int


class Freezer:
    """Freezes and thaws; both are idempotent and bounded in time."""

    def __init__(self, run_dir: Path) -> None:
        """`run_dir` is emptied by a reboot, as are all freezes."""
        self._records = run_dir / "frozen"
        self._guards: dict[str, _Guard] = {}
        self._paused_by_others: set[str] = set()

    async def freeze(
        self, container_id: str, pid: int, *, keep: bool, beforehand: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Returns when every thread stands still. With `keep` it stays so even if this process dies.

        `beforehand` runs as the last thing before, when the guard is there already. Raises FreezeFailed, NoCgroup or
        what `beforehand` raises; then it is not frozen by us.
        """
        cgroup = find_freezer(pid, container_id)
        if not self._record(container_id).exists() and _is_frozen(cgroup):
            # `docker pause`: it is the user who thaws it.
            self._paused_by_others.add(container_id)
            if beforehand is not None:
                await beforehand()
            return
        self._paused_by_others.discard(container_id)
        self._write_record(container_id, cgroup, keep)
        if keep:
            await self._dismiss_guard(container_id)
        elif container_id not in self._guards:
            self._guards[container_id] = await self._post_guard(container_id, cgroup)
        try:
            if beforehand is not None:
                await beforehand()
            await _freeze(cgroup, container_id)
        except BaseException:
            await self.thaw(container_id, pid)
            raise

    async def thaw(self, container_id: str, pid: int) -> None:
        """Lets it go on; nothing happens when it is not frozen or gone. Raises HostError when it cannot be thawed."""
        if container_id in self._paused_by_others:
            self._paused_by_others.discard(container_id)
            return
        try:
            _thaw(find_freezer(pid, container_id))
        except (NoCgroup, FileNotFoundError):
            pass  # gone, and nothing of it is frozen
        except OSError as error:
            # The record stays: the next agent tries again.
            raise HostError(f"container {container_id[:12]} cannot be thawed: {error}; try `docker unpause`") from error
        await self._dismiss_guard(container_id)
        self._record(container_id).unlink(missing_ok=True)

    def is_frozen(self, container_id: str, pid: int) -> bool:
        """Whether it stands still now, by whomever. False when it is gone."""
        try:
            return find_freezer(pid, container_id).is_frozen()
        except (NoCgroup, OSError):
            return False

    def guard_pipe(self, container_id: str) -> int | None:
        """A descriptor for the process that dumps: the guard does not thaw while that process has it open."""
        guard = self._guards.get(container_id)
        return guard.pipe if guard else None

    def leftovers(self) -> dict[str, bool]:
        """Containers that an earlier agent froze and never thawed, and whether they were meant to stay frozen."""
        found = {}
        for path in sorted(self._records.glob("*.json")):
            with contextlib.suppress(OSError, ValueError):
                found[path.stem] = bool(json.loads(path.read_bytes()).get("keep"))
        return found

    async def thaw_leftovers(self, keep: Collection[str] = ()) -> list[str]:
        """Thaws what an earlier agent left frozen, but for the containers in `keep`; returns what it thawed."""
        thawed = []
        for path in sorted(self._records.glob("*.json")):
            container_id = path.stem
            if container_id in keep or container_id in self._guards:
                continue
            record = _read_record(path)
            if record is not None:
                try:
                    _thaw(record)
                    thawed.append(container_id)
                    log.warning("thawed a container that an earlier agent left frozen", container=container_id)
                except FileNotFoundError:
                    pass  # its cgroup is gone, and the container with it
            path.unlink(missing_ok=True)
        return thawed

    async def _post_guard(self, container_id: str, cgroup: FreezerCgroup) -> _Guard:
        reader, writer = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                _GUARD,
                "swarmkeep-guard",
                str(cgroup.control),
                cgroup.thaw_word,
                str(self._record(container_id)),
                stdin=reader,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.close(reader)
        return _Guard(process, writer)

    async def _dismiss_guard(self, container_id: str) -> None:
        guard = self._guards.pop(container_id, None)
        if guard is None:
            return
        with contextlib.suppress(OSError):
            os.write(guard.pipe, b"done\n")
        os.close(guard.pipe)
        try:
            async with asyncio.timeout(1.0):
                await guard.process.wait()
        except TimeoutError:
            # A dump that could not be ended still holds the pipe.
            with contextlib.suppress(ProcessLookupError):
                guard.process.kill()

    def _write_record(self, container_id: str, cgroup: FreezerCgroup, keep: bool) -> None:
        self._records.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._record(container_id)
        temporary = path.with_suffix(".tmp")
        record = {"folder": str(cgroup.folder), "version": cgroup.version, "keep": keep}
        temporary.write_text(json.dumps(record))
        temporary.rename(path)

    def _record(self, container_id: str) -> Path:
        return self._records / f"{container_id}.json"


async def _freeze(cgroup: FreezerCgroup, container_id: str) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + FREEZE_LIMIT_S
    pause_s = 0.0005
    try:
        while True:
            again = loop.time() + THAW_AGAIN_S
            cgroup.control.write_text(cgroup.freeze_word)
            while loop.time() < again:
                if cgroup.is_frozen():
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, 0.01)
            if loop.time() > deadline:
                raise FreezeFailed(
                    f"container {container_id[:12]} did not stand still within {FREEZE_LIMIT_S:g} s: "
                    "one of its threads waits for a device or a network file system"
                )
            if cgroup.version == 1:
                cgroup.control.write_text(cgroup.thaw_word)
    except OSError as error:
        raise FreezeFailed(f"container {container_id[:12]} cannot be frozen: {error}") from error


def _is_frozen(cgroup: FreezerCgroup) -> bool:
    try:
        return cgroup.is_frozen()
    except OSError:
        return False


def _thaw(cgroup: FreezerCgroup) -> None:
    cgroup.control.write_text(cgroup.thaw_word)


def _read_record(path: Path) -> FreezerCgroup | None:
    try:
        record: Any = json.loads(path.read_bytes())
        return FreezerCgroup(Path(record["folder"]), int(record["version"]))
    except (ValueError, KeyError, TypeError):
        log.error("a record of a frozen container cannot be read", path=str(path))
        return None

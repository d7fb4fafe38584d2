"""Runs a command inside of a container through runc, and leaves nothing of it behind.

Not through Docker: while it stops a container it answers nothing about it, and what `docker exec` starts Docker expects
to end by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shlex
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from swarmkeep.agent.runtime.cgroups import PROC, NoCgroup, find_freezer
from swarmkeep.errors import DumpFailed

MARK = "SWARMKEEP_HOOK"
"""In the environment of a hook and of all that it starts: by this they are found."""
OUTPUT_BYTES = 2000
"""So much of what it printed last is told when it fails."""
END_LIMIT_S = 3.0
"""How long killed processes may take to go away."""
POLL_S = 0.02


class HookFailed(DumpFailed):
    """A command of checkpoint.hooks ended with an error or took too long."""

    reason = "HookFailed"


class HookRunner:
    """Runs hooks, each within its time."""

    def __init__(self, runc: Path, runc_root: Path, proc: Path = PROC) -> None:
        """`runc_root` is where Docker's containers are known to runc."""
        self._runc = runc
        self._runc_root = runc_root
        self._proc = proc

    async def run(self, container_id: str, pid: int, command: Sequence[str], limit_s: float) -> None:
        """Runs one; whatever it has started is gone when this returns or raises.

        Raises HookFailed with what it printed last: when it could not be started, ended with an error, took longer than
        `limit_s`, or could not be ended.
        """
        mark = f"{MARK}={secrets.token_hex(8)}"
        words = [str(self._runc), "--root", str(self._runc_root), "exec", "--env", mark, container_id, *command]
        shown = shlex.join(command)
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise HookFailed(f"cannot start {self._runc} for the hook {shown}: {error}") from error
        output = _Tail()
        reading = asyncio.ensure_future(output.read(process.stdout))
        in_time = True
        try:
            async with asyncio.timeout(max(limit_s, 0.0)):
                await process.wait()
        except TimeoutError:
            in_time = False
        finally:
            left = await asyncio.shield(self._end(process, pid, container_id, mark.encode()))
            await asyncio.wait({reading}, timeout=1.0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if left:
            raise HookFailed(f"the hook {shown} cannot be ended: process {left[0]} goes on although it was killed")
        if not in_time:
            raise HookFailed(f"the hook {shown} took longer than {limit_s:g} s and was killed{output}")
        if process.returncode:
            raise HookFailed(f"the hook {shown} ended with {process.returncode}{output}")

    async def _end(self, process: asyncio.subprocess.Process, pid: int, container_id: str, mark: bytes) -> list[int]:
        """Kills what is left of a hook; returns what does not go."""
        deadline = time.monotonic() + END_LIMIT_S
        gone_before = False
        while True:
            left = self._processes(pid, container_id, mark)
            for each in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            gone = not left and process.returncode is not None
            # Looked at twice: what runc was about to start may have come up behind its back.
            if gone and gone_before:
                return []
            gone_before = gone
            if time.monotonic() > deadline:
                return left or [process.pid]
            if not left and not gone:
                # Either it has just ended by that, or runc is still about to start it.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            await asyncio.sleep(POLL_S)

    def _processes(self, pid: int, container_id: str, mark: bytes) -> list[int]:
        try:
            candidates = find_freezer(pid, container_id, self._proc).processes()
        except NoCgroup:
            return []
        return [each for each in candidates if self._has(each, mark)]

    def _has(self, pid: int, mark: bytes) -> bool:
        try:
            folder = self._proc / str(pid)
            if folder.joinpath("stat").read_bytes().rpartition(b")")[2].split()[0] in (b"Z", b"X"):
                return False
            return mark in folder.joinpath("environ").read_bytes().split(b"\0")
        except OSError:
            return False


class _Tail:
    """The end of what a command prints, however much that is."""

    def __init__(self) -> None:
        self._bytes = b""

    async def read(self, stream: asyncio.StreamReader | None) -> None:
        while stream is not None and (chunk := await stream.read(1 << 16)):
            self._bytes = (self._bytes + chunk)[-OUTPUT_BYTES:]

    def __str__(self) -> str:
        text = self._bytes.decode(errors="replace").strip()
        return f": {text}" if text else ", and printed nothing"

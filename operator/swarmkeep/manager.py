"""`swarmkeep manager`: keeps an API server and an operator running on a manager of the Swarm.

They are two processes since the operator's framework wants one for itself, and since losing the leadership ends the
operator but must not end the API. Called by the command; knows nothing of what its children do.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from swarmkeep.obs.logs import configure_logging

_log = structlog.get_logger(__name__)

DAEMONS = ("apiserver", "operator")

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """When to start again, and when to give up. All in seconds."""

    first_pause_s: float = 0.2
    longest_pause_s: float = 5.0
    lived_s: float = 30.0
    """A child that lived this long was well: its next end is its first."""
    failures: int = 20
    """So many ends in a row, none after a life worth the name, and the manager gives up: whoever started it is told."""
    stop_s: float = 10.0
    """How long the children have to end after SIGTERM; then they are killed."""


@dataclass(slots=True)
class _Child:
    name: str
    command: Sequence[str]
    process: asyncio.Task[asyncio.subprocess.Process] | None = None
    """A task, so that a child which is just being born when everything stops is not forgotten."""
    failures: int = 0


def run(config: Path) -> int:
    """Supervises the two daemons until SIGTERM or SIGINT; the exit code is 0 then, 1 when a child keeps failing."""
    configure_logging("manager")
    command = (sys.executable, "-m", "swarmkeep")
    children = {name: (*command, name, "--config", str(config)) for name in DAEMONS}
    return asyncio.run(supervise(children))


async def supervise(commands: Mapping[str, Sequence[str]], limits: Limits | None = None) -> int:
    """Runs one process for each command line, restarting those that end. Returns an exit code."""
    limits = limits or Limits()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    children = [_Child(name, command) for name, command in commands.items()]
    stopping: asyncio.Task[object] = asyncio.create_task(stop.wait())
    keeping: list[asyncio.Task[None]] = [
        asyncio.create_task(_keep(child, limits), name=child.name) for child in children
    ]
    try:
        both: list[asyncio.Task[Any]] = [stopping, *keeping]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        given_up = [task.get_name() for task in keeping if task.done()]
        for ended in keeping:
            if ended.done():
                ended.result()  # an error in here is a bug: it must not look like a child's failure
    finally:
        for task in (stopping, *keeping):
            task.cancel()
        await asyncio.gather(stopping, *keeping, return_exceptions=True)
        await asyncio.gather(*(_stop(child, limits) for child in children))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    if given_up:
        _log.error("a daemon keeps failing, giving up", daemons=given_up)
    return 1 if given_up else 0


async def _keep(child: _Child, limits: Limits) -> None:
    """Starts the child again and again; returns when it keeps failing."""
    pause_s = limits.first_pause_s
    while True:
        child.process = asyncio.create_task(_start(child))
        process = await asyncio.shield(child.process)
        started_at = time.monotonic()
        code = await process.wait()
        lived_s = time.monotonic() - started_at
        if lived_s >= limits.lived_s:
            child.failures, pause_s = 0, limits.first_pause_s
        child.failures += 1
        _log.warning("a daemon ended", child=child.name, code=code, lived_s=round(lived_s, 1), again_in_s=pause_s)
        if child.failures >= limits.failures:
            return
        await asyncio.sleep(pause_s)
        pause_s = min(limits.longest_pause_s, pause_s * 2)


async def _start(child: _Child) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *child.command, stdin=asyncio.subprocess.DEVNULL, preexec_fn=_die_with_parent()
    )
    _log.info("a daemon was started", child=child.name, pid=process.pid)
    return process


async def _stop(child: _Child, limits: Limits) -> None:
    """SIGTERM, and SIGKILL when that does not end it in time."""
    if child.process is None:
        return
    process = await child.process
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(limits.stop_s):
            await process.wait()
    except TimeoutError:
        _log.warning("a daemon does not stop, killing it", child=child.name, after_s=limits.stop_s)
        process.kill()
        await process.wait()
    _log.info("a daemon was stopped", child=child.name, code=process.returncode)


def _die_with_parent() -> Callable[[], None]:
    """For preexec_fn: has the kernel kill the child when the manager dies, however it dies.

    Kill, not terminate: a child that hangs would keep its port from the next manager's child, and both daemons are
    made to be killed at any point.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            # The manager died between fork and prctl: nobody would ever end this child.
            os._exit(1)

    return prepare

"""Dumps a frozen container with runc and CRIU. Called by the version taker."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import re
import resource
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from swarmkeep.agent.runtime.cgroups import NoCgroup, find_freezer
from swarmkeep.agent.runtime.dump_errors import explain, may_pass
from swarmkeep.agent.runtime.dump_stats import DumpStats, parse_dump_stats
from swarmkeep.agent.runtime.restores import Restores
from swarmkeep.agent.runtime.watches import Watches
from swarmkeep.errors import CorruptData, DumpFailed, DumpHindered

log = structlog.get_logger(__name__)

WRAPPER = Path(__file__).with_name("bin")
"""Holds a program named criu that makes CRIU survive a file size limit."""
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GIVE_UP_S = 3.0
"""How long CRIU may take to let the container go after it was made to fail; then it is killed."""
PATIENCE_S = 60.0
"""The same where it cannot be made to fail: killing it in the middle could harm the container."""
PAGES_POLL_S = 0.02
NICE = -15
"""Of a dump. Under it a node whose processors are all in use lets the container stand still hardly any longer."""
LOG = "dump.log"
"""In the work folder. CRIU opens it before it looks at the container."""
GATE = "gate"
"""In the work folder: a pipe by name."""
PROC = Path("/proc")
CAP_SYS_RESOURCE = 24
CRIU_CONF = Path("/etc/criu/runc.conf")
"""What runc makes CRIU read for a container without a file of its own."""
ANNOTATION = "org.criu.config"
LOG = "dump.log"
OUTPUT = "runc.out"
ENDED = "Unfreezing tasks into 2"
"""CRIU's last step of a final dump: all is written, and the processes are ended. Source: criu/seize.c, TASK_DEAD."""


class GuardPipes(Protocol):
    """The freezer: a dump keeps the guard from thawing too early."""

    def guard_pipe(self, container_id: str) -> int | None:
        """A descriptor to keep open while the dump runs."""


@dataclass(frozen=True, slots=True)
class DumpRequest:
    """One dump. It leaves a frozen container frozen when that runs on."""

    container_id: str
    pid: int
    image_dir: Path
    work_dir: Path
    leave_running: bool
    """False lets CRIU end the processes once everything is written."""
    tcp: str
    """`Close`: established connections are no obstacle, they will be closed on restore. `Refuse`: they are.
    `Established`: they are dumped so that they can go on."""
    max_freeze_s: float
    """The dump is given up when the container stands still for longer."""
    stood_still_s: float = 0.0
    """How much of that was used up when the dump was asked for."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A dump that goes on when the container stands still."""

    process: asyncio.subprocess.Process
    gate: int
    """The descriptor through which CRIU, or who stands before it, is told to go on."""


@dataclass(frozen=True, slots=True)
class DumpResult:
    """A dump that is whole."""

    stats: DumpStats
    seconds: float
    """runc and CRIU from start to end."""

    def stats_status(self) -> dict[str, float | int]:
        """As status.criu of a Checkpoint has it."""
        stats = self.stats
        return {
            "freezingSeconds": stats.freezing_s,
            "frozenSeconds": stats.frozen_s,
            "memoryDumpSeconds": stats.memory_dump_s,
            "memoryWriteSeconds": stats.memory_write_s,
            "pagesScanned": stats.pages_scanned,
            "pagesWritten": stats.pages_written,
        }


class Dumper:
    """Runs `runc checkpoint`.

    runc needs a while before it comes to dumping, and the container need not stand still for that: `begin` before
    freezing, and `dump` after it. In between CRIU waits at a gate, which the program that stands before it keeps.
    """

    def __init__(
        self, runc: Path, runc_root: Path, guards: GuardPipes | None = None, restores: Restores | None = None
    ) -> None:
        """`runc_root` is where Docker's containers are known to runc."""
        self._runc = runc
        self._runc_root = runc_root
        self._guards = guards
        self._restores = restores
        self._gate_holds = True
        self._watches = Watches()

    async def begin(self, request: DumpRequest) -> Begun | None:
        """Starts runc for a container that is about to stand still; the result is for `dump` or `abandon`.

        None when CRIU cannot be made to wait. Raises DumpFailed. Not for a final dump: should the gate not hold, that
        would end processes that do not stand still.
        """
        if not self._gate_holds or "SWARMKEEP_CRIU" not in _environment():
            return None
        await self._await_pages(request, time.monotonic() + request.max_freeze_s)
        await asyncio.to_thread(self._set_criu_options, request)
        path = request.work_dir / GATE
        os.mkfifo(path, 0o600)
        # Open in both ways, so that it neither waits for CRIU nor loses what is written before CRIU comes.
        gate = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return Begun(await self._start(request, gate=path), gate)
        except BaseException:
            os.close(gate)
            raise

    async def abandon(self, request: DumpRequest, begun: Begun) -> None:
        """Ends what `begin` began; the container is as before."""
        try:
            os.write(begun.gate, b"stop\n")
            await self._give_up(begun.process, request)
        finally:
            os.close(begun.gate)

    async def dump(self, request: DumpRequest, begun: Begun | None = None) -> DumpResult:
        """Dumps a container that stands still into `image_dir`; CRIU's log and figures are in `work_dir`.

        Raises DumpFailed, after which the container is as before, frozen or not. When this task is cancelled
        the dump is ended as if it took too long.
        """
        started = time.monotonic()
        ends_at = started + request.max_freeze_s - request.stood_still_s
        if begun is not None and (request.work_dir / LOG).exists():
            # This runc starts CRIU in another way. What was dumped is of an earlier instant than the writable layer.
            log.warning("CRIU did not wait for the container to stand still, dumping again", runc=str(self._runc))
            self._gate_holds = False
            await self.abandon(request, begun)
            _empty(request.image_dir)
            _empty(request.work_dir)
            begun = None
        if begun is None:
            await self._await_pages(request, ends_at)
            await asyncio.to_thread(self._set_criu_options, request)
            return await self._finish(request, await self._start(request), started, ends_at)
        try:
            os.write(begun.gate, b"go\n")
            return await self._finish(request, begun.process, started, ends_at)
        finally:
            os.close(begun.gate)

    async def _finish(
        self, request: DumpRequest, process: asyncio.subprocess.Process, begun: float, ends_at: float
    ) -> DumpResult:
        try:
            async with asyncio.timeout(ends_at - time.monotonic()):
                code = await process.wait()
        except (TimeoutError, asyncio.CancelledError) as error:
            if await asyncio.shield(self._give_up(process, request)) or _ended(request):
                return DumpResult(self._stats(request), time.monotonic() - begun)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise DumpFailed(
                f"the container stood still for longer than the {request.max_freeze_s:g} s that checkpoint.maxFreeze "
                "allows, so the dump was given up; the container runs on. Allow more, or make the staging folder faster"
            ) from error
        if code != 0 and not _ended(request):
            criu_log = _read(request.work_dir / LOG)
            failure = DumpHindered if may_pass(criu_log) else DumpFailed
            raise failure(explain(criu_log, _read(request.work_dir / OUTPUT)))
        return DumpResult(self._stats(request), time.monotonic() - begun)

    async def _await_pages(self, request: DumpRequest, ends_at: float) -> None:
        """Waits for a lazy restore to end, which goes on while the container stands still. Raises DumpFailed.

        CRIU takes a page that is not there yet for an empty one.
        """
        while self._restores is not None and self._restores.still_reading(request.container_id):
            if time.monotonic() + PAGES_POLL_S > ends_at:
                raise DumpFailed("it was restored a moment ago and its memory is still being read; later it works")
            await asyncio.sleep(PAGES_POLL_S)

    async def _start(self, request: DumpRequest, gate: Path | None = None) -> asyncio.subprocess.Process:
        words = [str(self._runc), "--root", str(self._runc_root), "checkpoint", "--file-locks"]
        words += ["--image-path", str(request.image_dir), "--work-path", str(request.work_dir)]
        if request.leave_running:
            words.append("--leave-running")
        if request.tcp != "Refuse":
            words += ["--tcp-established", "--tcp-skip-in-flight"]
        words.append(request.container_id)
        pipe = self._guards.guard_pipe(request.container_id) if self._guards else None
        environment = _environment()
        if gate is not None:
            environment |= {"SWARMKEEP_GATE": str(gate), "SWARMKEEP_IMAGE": str(request.image_dir)}
        environment["SWARMKEEP_NICE"] = str(NICE)
        environment |= _identity(request.pid)
        with (request.work_dir / OUTPUT).open("wb") as output:
            # It is runc's as well as ours: held until both are gone, by which `is_dumping` knows.
            fcntl.flock(output, fcntl.LOCK_EX)
            try:
                process = await asyncio.create_subprocess_exec(
                    *words,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=environment,
                    # Of its own session: what ends the agent must not end CRIU in the middle.
                    start_new_session=True,
                    pass_fds=() if pipe is None else (pipe,),
                )
            except OSError as error:
                raise DumpFailed(f"cannot start {self._runc}: {error}; set agent.runc to where runc is") from error
        _prefer(process.pid)
        return process

    async def _give_up(self, process: asyncio.subprocess.Process, request: DumpRequest) -> bool:
        """Ends a dump so that the container goes on. True when it came to its good end meanwhile.

        A full disk is what CRIU can handle: it takes everything back and lets the processes go. So its next write is
        made to fail. Only when that does not help it is killed.
        """
        limit_s = GIVE_UP_S
        for child in _children(process.pid):
            try:
                _, hard = resource.prlimit(child, resource.RLIMIT_FSIZE)
                resource.prlimit(child, resource.RLIMIT_FSIZE, (0, hard))
            except PermissionError:
                limit_s = PATIENCE_S
            except OSError:
                continue
        try:
            async with asyncio.timeout(limit_s):
                return await process.wait() == 0
        except TimeoutError:
            log.error("a dump cannot be ended gently, killing it", container=request.container_id)
        for child in _children(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await _unlock_network(request.pid)
        return False

    def _set_criu_options(self, request: DumpRequest) -> None:
        """Gives CRIU the options that runc has no flags for, if this container reads a file of ours (see the shim)."""
        conf = self._own_criu_conf(request.container_id)
        if conf is None:
            return
        # The container stands still: nobody has to be kept from its connections, and locking them costs 0.08 s.
        # A deleted file that is still open goes into the image, however large: maxFreeze is the limit for that.
        # Not so when its connections are to go on: what comes in meanwhile would change them, or, once the process
        # is gone, be answered with a reset.
        lines = ["ghost-limit 1024G"]
        if request.tcp != "Established":
            lines.append("network-lock skip")
        if request.tcp == "Close":
            lines.append("tcp-close")
        watched = self._watched(request)
        # A line of that file has no way to write a name with spaces.
        lines += [f"irmap-scan-path {path}" for path in watched if not re.search(r"\s|[\"'#]", path)]
        with contextlib.suppress(OSError):
            text = CRIU_CONF.read_text() if CRIU_CONF.exists() else ""
            conf.write_text(text.rstrip("\n") + "\n" + "\n".join(lines) + "\n")

    def _watched(self, request: DumpRequest) -> list[str]:
        try:
            processes = find_freezer(request.pid, request.container_id).processes()
        except (NoCgroup, OSError):
            return []
        return self._watches.paths(request.container_id, request.pid, processes)

    def _own_criu_conf(self, container_id: str) -> Path | None:
        """The options file that the shim named in the container's annotations; None for one made without it."""
        try:
            state = json.loads((self._runc_root / container_id / "state.json").read_bytes())
            labels = state["config"]["labels"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        for label in labels if isinstance(labels, list) else ():
            key, _, value = str(label).partition("=")
            if key == ANNOTATION and value.endswith(f"/{container_id}/criu.conf"):
                return Path(value)
        return None

    def _stats(self, request: DumpRequest) -> DumpStats:
        try:
            return parse_dump_stats((request.work_dir / "stats-dump").read_bytes())
        except (OSError, CorruptData) as error:
            # The dump is whole without them.
            log.warning("CRIU's figures cannot be read", container=request.container_id, error=str(error))
            return DumpStats()


def is_dumping(work_dir: Path) -> bool:
    """Whether a dump that was begun with this work folder still goes on, be it of an agent that is dead."""
    try:
        with (work_dir / OUTPUT).open("rb") as output:
            fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def has_ended_processes(work_dir: Path) -> bool:
    """Whether the dump has ended the processes, which CRIU does only in a final one and only when all is written."""
    return ENDED in _read(work_dir / LOG)


def _ended(request: DumpRequest) -> bool:
    return not request.leave_running and has_ended_processes(request.work_dir)


def _environment() -> dict[str, str]:
    """The wrapper stands before CRIU in runc's search path, if it may be run."""
    path = os.pathsep.join(filter(None, [os.environ.get("PATH"), SEARCH_PATH]))
    environment = {**os.environ, "PATH": path}
    criu = shutil.which("criu", path=path)
    if criu is not None and os.access(WRAPPER / "criu", os.X_OK):
        environment |= {"PATH": f"{WRAPPER}{os.pathsep}{path}", "SWARMKEEP_CRIU": criu}
    return environment


def _identity(pid: int, proc: Path = PROC) -> dict[str, str]:
    """Real user and group that CRIU has to have for a container: none where it may look at everybody's limits.

    A node that is itself a container often lacks CAP_SYS_RESOURCE. Then prlimit(2) tells the limits of a process only
    to its own user, by the real ids; CRIU's effective ones, and so its capabilities, stay those of root.
    """
    try:
        own, theirs = ((proc / str(who) / "status").read_text() for who in ("self", pid))
    except OSError:
        return {}
    capabilities = int(_field(own, "CapEff")[0], 16)
    uids, gids = ({*_field(theirs, name)[:3]} for name in ("Uid", "Gid"))
    if capabilities >> CAP_SYS_RESOURCE & 1 or uids == {"0"} or len(uids) > 1 or len(gids) > 1:
        return {}
    return {"SWARMKEEP_RUID": uids.pop(), "SWARMKEEP_RGID": gids.pop()}


def _field(status: str, name: str) -> list[str]:
    """The words of one line of /proc/PID/status."""
    return next(line.split()[1:] for line in status.splitlines() if line.startswith(f"{name}:"))


def _prefer(session: int) -> None:
    """Gives a session more of the processors than others get: a container stands still until it has ended.

    Where the kernel groups processes by session, the group's own nice value counts; elsewhere that of the process,
    which the program before CRIU sets. Source: sched(7), the autogroup feature.
    """
    with contextlib.suppress(OSError):
        Path(f"/proc/{session}/autogroup").write_text(str(NICE))


def _children(pid: int) -> list[int]:
    """Direct children of a process, whichever of its threads made them."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.extend(int(word) for word in path.read_text().split())
    return found


async def _unlock_network(pid: int) -> None:
    """Removes the rules by which a killed CRIU still blocks a container's network. Source: criu/net.c."""
    script = (
        "for t in iptables ip6tables; do"
        " $t -w 1 -D INPUT -j CRIU; $t -w 1 -D OUTPUT -j CRIU; $t -w 1 -F CRIU; $t -w 1 -X CRIU; done;"
        " nft list tables | while read -r _ family name; do"
        ' case $name in CRIU-*) nft delete table "$family" "$name";; esac; done'
    )
    process = await asyncio.create_subprocess_exec(
        "nsenter",
        f"--net=/proc/{pid}/ns/net",
        "sh",
        "-c",
        script,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PATH": SEARCH_PATH},
    )
    try:
        async with asyncio.timeout(5.0):
            await process.wait()
    except TimeoutError:
        process.kill()


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""

"""Processor time and memory that a version costs: of daemons that run on, and of commands that end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from swarmlab.node import Node
from swarmlab.process import LabError

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(slots=True)
class Usage:
    """Filled when the block of `measured` ends."""

    cpu_s: float = 0.0
    """Of the daemons and of every program that they started and waited for."""
    memory_bytes: int = 0
    """Sum of what each daemon's resident memory grew by at most."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that has ended well."""

    output: str
    seconds: float
    cpu_s: float
    """Of itself and of every program that it started and waited for."""
    memory_bytes: int
    """Of the largest of these."""


def find_processes(node: Node, *names: str) -> list[int]:
    """Processes of the node, by this machine's numbers, whose command line has one of the names in its first words."""
    if node.pid is None:
        raise LabError(f"{node.name} is off")
    namespace = (_PROC / str(node.pid) / "ns/pid").readlink()
    found = []
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "ns/pid").readlink() != namespace:
                continue
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:3]
            line = " ".join(word.rpartition("/")[2] for word in words)
            if any(line.startswith(name) or f" {name}" in line for name in names):
                found.append(int(folder.name))
    return found


@contextlib.contextmanager
def measured(pids: Sequence[int]) -> Iterator[Usage]:
    """What these processes use while the block runs; one that ends meanwhile is not counted."""
    usage = Usage()
    before = {pid: _cpu_s(pid) for pid in pids}
    idle = {pid: _memory(pid, "VmRSS") for pid in pids}
    for pid in pids:
        with contextlib.suppress(OSError):
            # From now on VmHWM is the largest since this moment. Source: proc_pid_clear_refs(5).
            (_PROC / str(pid) / "clear_refs").write_text("5")
    yield usage
    usage.cpu_s = sum(max(0.0, _cpu_s(pid) - before[pid]) for pid in pids)
    usage.memory_bytes = sum(max(0, _memory(pid, "VmHWM") - idle[pid]) for pid in pids)


def run_measured(command: Sequence[str], *, limit_s: float = 300) -> Command:
    """Runs a command to its end. Raises LabError when it fails or takes longer than `limit_s`."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    timer = _Killer(process, limit_s)
    with timer, process.stdout:
        output = process.stdout.read().decode(errors="replace")
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begun
    if process.returncode != 0:
        why = f"took longer than {limit_s:g} s" if timer.killed else f"ended with {process.returncode}"
        raise LabError(f"{' '.join(command)[-200:]} {why}:\n{output.strip()[-2000:]}")
    return Command(output, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


class _Killer:
    """Ends a process that takes too long."""

    def __init__(self, process: subprocess.Popen[bytes], limit_s: float) -> None:
        self.killed = False
        self._process = process
        self._timer = threading.Timer(limit_s, self._kill)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _kill(self) -> None:
        self.killed = True
        self._process.kill()


def _cpu_s(pid: int) -> float:
    """Processor time of a process and of its children that it has waited for. Source: proc_pid_stat(5)."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS


def _memory(pid: int, field: str) -> int:
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)

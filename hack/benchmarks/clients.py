"""Clients of a Redis in the lab: one that notices how long it is silent, and one that keeps it busy."""

from __future__ import annotations

import select
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from swarmlab.lab import Lab
from swarmlab.node import Node
from swarmlab.process import LabError

PROGRAM = Path(__file__).with_name("pinger.py")
ANSWER_LIMIT_S = 90.0
LOAD = "bench-load"
LOAD_CLIENTS = 8


class Pinger:
    """A client on the node itself, with one connection that is open all the time."""

    def __init__(self, lab: Lab, node: Node, address: str) -> None:
        shared = lab.settings.shared / ".lab"
        shared.mkdir(exist_ok=True)
        (shared / PROGRAM.name).write_text(PROGRAM.read_text())
        words = [*node.entering(), "python3", "-I", "-S", f"/shared/.lab/{PROGRAM.name}", address]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        self._line()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def longest_silence(self) -> float:
        """Seconds between two answers, at most, since this was asked before."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], ANSWER_LIMIT_S)[0]:
            raise LabError(f"the pinging client has not been answered within {ANSWER_LIMIT_S:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise LabError("the pinging client has ended; is Redis still there?")
        return line


class Load:
    """redis-benchmark, writing to random keys as fast as it is answered."""

    def __init__(self, lab: Lab, node: Node, address: str, keys: int, value_bytes: int) -> None:
        self._node = node
        words = ["docker", "run", "--detach", "--runtime", "runc", "--network", "host", "--name", LOAD]
        words += [lab.images()["redis"], "redis-benchmark", "-h", address, "-t", "set", "-n", "1000000000", "-q"]
        words += ["-r", str(keys), "-d", str(value_bytes), "-c", str(LOAD_CLIENTS)]
        self._words = words

    def __enter__(self) -> Self:
        self._node.execute(["docker", "rm", "-f", LOAD], check=False)
        self._node.execute(self._words)
        # Until its connections are open and it writes at full speed.
        time.sleep(1.0)
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._node.execute(["docker", "rm", "-f", LOAD], check=False)

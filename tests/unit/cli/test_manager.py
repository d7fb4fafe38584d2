"""The supervisor as a process, with small programs as its daemons."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

QUICK = {"first_pause_s": 0.02, "longest_pause_s": 0.1, "lived_s": 5.0, "failures": 4, "stop_s": 0.5}

SUPERVISE = """
import asyncio, json, sys
from swarmkeep.manager import Limits, supervise
sys.exit(asyncio.run(supervise(json.loads(sys.argv[1]), Limits(**json.loads(sys.argv[2])))))
"""


@contextmanager
def manager(limits: dict[str, float] | None = None, **daemons: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", SUPERVISE, json.dumps(daemons), json.dumps(limits or QUICK)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "operator")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def noting(path: Path, code: str = "import time; time.sleep(60)") -> tuple[str, ...]:
    """A daemon that appends its pid to a file."""
    return (sys.executable, "-c", f"import os; print(os.getpid(), file=open({str(path)!r}, 'a')); {code}")


def pids(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_both_daemons_run_and_stop_on_sigterm(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    with manager(a=noting(a), b=noting(b)) as process:
        until(lambda: len(pids(a)) == 1 and len(pids(b)) == 1)
        process.terminate()
        assert process.wait(20) == 0
    assert not any(is_alive(pid) for pid in pids(a) + pids(b))


def test_a_daemon_that_ends_is_started_again_and_the_other_stays(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    with manager(a=noting(a), b=noting(b)) as process:
        until(lambda: len(pids(a)) == 1 and len(pids(b)) == 1)
        os.kill(pids(a)[0], signal.SIGKILL)
        until(lambda: len(pids(a)) == 2)
        assert len(pids(b)) == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_a_daemon_that_keeps_failing_ends_the_manager_and_the_other_daemon(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    with manager(a=noting(a, "raise SystemExit(3)"), b=noting(b)) as process:
        assert process.wait(20) == 1
    assert len(pids(a)) == QUICK["failures"]
    assert not any(is_alive(pid) for pid in pids(b))


def test_a_life_worth_the_name_forgives_earlier_ends(tmp_path: Path) -> None:
    a = tmp_path / "a"
    with manager({**QUICK, "lived_s": 0.0, "failures": 2}, a=noting(a, "raise SystemExit(3)")) as process:
        until(lambda: len(pids(a)) >= 4)
        process.terminate()
        assert process.wait(20) == 0


def test_a_daemon_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    a, ready = tmp_path / "a", tmp_path / "ready"
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    deaf += f"; print(file=open({str(ready)!r}, 'w')); time.sleep(60)"
    with manager(a=noting(a, deaf)) as process:
        until(ready.exists)
        started = time.monotonic()
        process.terminate()
        assert process.wait(20) == 0
    assert time.monotonic() - started < 10
    assert not is_alive(pids(a)[0])


def test_daemons_die_with_a_manager_that_was_killed(tmp_path: Path) -> None:
    a = tmp_path / "a"
    with manager(a=noting(a)) as process:
        until(lambda: len(pids(a)) == 1)
        process.kill()
    until(lambda: not is_alive(pids(a)[0]))

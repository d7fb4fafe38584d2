"""One node: namespaces, an overlay root, a first process that supervises the node's services."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from swarmlab import network
from swarmlab.process import LabError, run, wait_until
from swarmlab.settings import Settings, index_of

_STATE_FOLDERS = ("upper", "work", "root", "docker", "containerd", "etcd", "swarmkeep")
_INIT = Path(__file__).with_name("node-init")
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Node:
    """A node of a lab, running or not."""

    settings: Settings
    name: str

    @property
    def address(self) -> str:
        return f"{self.settings.network}.{index_of(self.name)}"

    @property
    def state(self) -> Path:
        return self.settings.state / "nodes" / self.name

    @property
    def root(self) -> Path:
        """Its root file system as this machine sees it: writable while the node is down or up."""
        return self.state / "root"

    @property
    def pid(self) -> int | None:
        """The node's first process, None when it is off."""
        try:
            pid, started = (self.state / "pid").read_text().split()
        except (OSError, ValueError):
            return None
        # A process number may have been given to somebody else; its start time tells.
        return int(pid) if _start_time(int(pid)) == started else None

    def mount(self, lower: Sequence[Path]) -> None:
        """Lays the node's root file system over the shared layers."""
        for folder in _STATE_FOLDERS:
            (self.state / folder).mkdir(parents=True, exist_ok=True)
        if not os.path.ismount(self.root):
            layers = ":".join(str(path) for path in lower)
            options = f"lowerdir={layers},upperdir={self.state / 'upper'},workdir={self.state / 'work'}"
            run(["mount", "-t", "overlay", "overlay", "-o", options, self.root])

    def write(self, path: str, content: str, *, mode: int = 0o644) -> None:
        """Writes a file inside the node."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(mode)

    def boot(self) -> None:
        """Starts the node; its services follow by themselves."""
        if self.pid:
            return
        holder_file = self.state / "holder"
        holder_file.unlink(missing_ok=True)
        # A process of its own, of nobody's: it outlives this program, and the machine's first process buries it.
        launch = ["setsid", "--fork", "sh", "-c", 'echo $$ > "$0" && exec "$@"', str(holder_file)]
        unshare = ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        command = [*launch, *unshare, str(_INIT), str(self.root), str(self.state), str(self.settings.shared)]
        with open(self.state / "console.log", "ab") as log:
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", timeout=10, check=True)
        pids: list[int] = []

        def started() -> bool:
            with contextlib.suppress(OSError, ValueError):
                holder = int(holder_file.read_text())
                pids.extend(map(int, Path(f"/proc/{holder}/task/{holder}/children").read_text().split()))
            return bool(pids)

        wait_until(
            f"the first process of {self.name} (see {self.state}/console.log)", started, limit_s=10, every_s=0.02
        )
        pid = pids[0]
        (self.state / "pid").write_text(f"{pid} {_start_time(pid)}")
        network.plug_in(self.settings, self.name, pid)

    def kill(self) -> None:
        """Cuts the power: every process of the node dies at once, and nothing is written any more."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

            def died() -> bool:
                self._let_frozen_die()
                return self.pid is None

            wait_until(f"the processes of {self.name} to die", died, limit_s=30, every_s=0.02)
        (self.state / "pid").unlink(missing_ok=True)
        network.unplug(self.settings, self.name)
        self._remove_cgroups()

    def execute(
        self, command: Sequence[str], *, limit_s: float = 60, check: bool = True, input: bytes | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program inside the node. Raises LabError when the node is off, or as `process.run` does."""
        return run([*self.entering(), *command], limit_s=limit_s, check=check, input=input)

    def entering(self) -> list[str]:
        """The words that make a program run inside the node."""
        pid = self.pid
        if pid is None:
            raise LabError(f"{self.name} is off; `hack/lab boot {self.name}` starts it")
        return ["nsenter", "-t", str(pid), "-m", "-n", "-u", "-i", "-p", "-r", "-w"]

    def freezer_state(self, container: str) -> str | None:
        """What the kernel says of a container: FROZEN, FREEZING, THAWED (cgroup v1); None when it is gone."""
        path = _CGROUPS / "freezer" / self.settings.cgroup / self.name / container / "freezer.state"
        try:
            return path.read_text().strip()
        except OSError:
            return None

    def is_container_running(self, container: str) -> bool:
        """Whether any process of a container is left, as the kernel sees it."""
        path = _CGROUPS / "freezer" / self.settings.cgroup / self.name / container / "cgroup.procs"
        try:
            return bool(path.read_text().strip())
        except OSError:
            return False

    def may_run(self, container: str) -> bool:
        """Whether any process of a container may run another instruction: it is not frozen, and no SIGKILL waits."""
        folder = _CGROUPS / "freezer" / self.settings.cgroup / self.name / container
        try:
            # In this order: whoever is thawed in between has its SIGKILL already, or is caught the next time.
            state = (folder / "freezer.state").read_text().strip()
            pids = [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
        except OSError:
            return False
        return state == "THAWED" and not all(map(_is_killed, pids))

    def destroy(self) -> None:
        """Removes the node and all that it wrote."""
        self.kill()
        with contextlib.suppress(LabError):
            run(["umount", "--recursive", self.root], check=False)
        for _ in range(50):
            if not os.path.ismount(self.root):
                break
            run(["umount", "-l", self.root], check=False)
            time.sleep(0.1)
        shutil.rmtree(self.state, ignore_errors=True)

    def _let_frozen_die(self) -> None:
        """Thaws containers whose processes all have a SIGKILL waiting: in cgroup v1 a frozen process cannot die, and
        one that is thawed with a SIGKILL waiting runs no instruction any more."""
        for folder in _folders(_CGROUPS / "freezer" / self.settings.cgroup / self.name):
            with contextlib.suppress(OSError):
                state, procs = folder / "freezer.state", (folder / "cgroup.procs").read_text().split()
                if state.read_text().strip() != "THAWED" and procs and all(_is_killed(int(pid)) for pid in procs):
                    state.write_text("THAWED")

    def _remove_cgroups(self) -> None:
        for hierarchy in _CGROUPS.iterdir():
            top = hierarchy / self.settings.cgroup / self.name
            for folder in sorted(_folders(top), key=lambda path: len(path.parts), reverse=True):
                for _ in range(50):
                    try:
                        folder.rmdir()
                        break
                    except FileNotFoundError:
                        break
                    except OSError:
                        # The kernel lets go of the dead tasks a moment later.
                        time.sleep(0.02)


def _folders(top: Path) -> Iterator[Path]:
    if top.is_dir():
        yield top
        for path in top.iterdir():
            if path.is_dir():
                yield from _folders(path)


def _is_killed(pid: int) -> bool:
    """Whether a SIGKILL waits for the process, or it is gone already."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    pending = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (signal.SIGKILL - 1) & 1 for mask in pending)


def _start_time(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]

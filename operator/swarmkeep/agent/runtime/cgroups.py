"""Where a container's processes are in the cgroup file systems. Used by the freezer and to end a container."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from swarmkeep.errors import HostError

PROC = Path("/proc")
_IN_NO_FILE = ("RssAnon", "RssShmem", "VmSwap")


class NoCgroup(HostError):
    """A container's cgroup could not be found: its process is gone, or this node's cgroups are not mounted."""

    reason = "CgroupNotFound"


@dataclass(frozen=True, slots=True)
class FreezerCgroup:
    """The cgroup through which a container stands still."""

    folder: Path
    version: int
    """1 or 2."""

    @property
    def control(self) -> Path:
        """The file that freezes and thaws."""
        return self.folder / ("freezer.state" if self.version == 1 else "cgroup.freeze")

    @property
    def freeze_word(self) -> str:
        return "FROZEN" if self.version == 1 else "1"

    @property
    def thaw_word(self) -> str:
        return "THAWED" if self.version == 1 else "0"

    def is_frozen(self) -> bool:
        """Whether every thread stands still. Raises OSError when the cgroup is gone."""
        if self.version == 1:
            return self.control.read_text().strip() == "FROZEN"
        return "frozen 1" in (self.folder / "cgroup.events").read_text().splitlines()

    def processes(self) -> list[int]:
        """Processes in this cgroup and those below it; none when it is gone."""
        found: list[int] = []
        for path in (self.folder / "cgroup.procs", *self.folder.rglob("*/cgroup.procs")):
            try:
                found.extend(int(word) for word in path.read_text().split())
            except (OSError, ValueError):
                continue
        return found


def find_freezer(pid: int, container_id: str, proc: Path = PROC) -> FreezerCgroup:
    """The cgroup of a container's first process. Raises NoCgroup, also when the process is not that container's.

    Source: cgroups(7), /proc/PID/cgroup and mountinfo. Docker's cgroups bear the container's id with both drivers.
    """
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError as error:
        raise NoCgroup(f"process {pid} of container {container_id[:12]} is gone") from error
    unified = ""
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "freezer" in controllers.split(","):
            return FreezerCgroup(_folder(path, container_id, pid, "cgroup", "freezer", proc), 1)
        if not controllers:
            unified = path
    if not unified:
        raise NoCgroup("this node has neither a cgroup v1 freezer nor cgroup v2: containers cannot be frozen")
    return FreezerCgroup(_folder(unified, container_id, pid, "cgroup2", "", proc), 2)


def memory_bytes(pid: int, container_id: str, proc: Path = PROC) -> int:
    """Memory of a container's processes that is in no file: about what a dump of it writes. 0 when it is gone."""
    total = 0
    try:
        processes = find_freezer(pid, container_id, proc).processes()
    except NoCgroup:
        return 0
    for process in processes:
        try:
            lines = (proc / str(process) / "status").read_text().splitlines()
        except OSError:
            continue
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        total += sum(int(fields.get(name, "0").split()[0]) for name in _IN_NO_FILE)
    return total * 1024


def cgroup_version(proc: Path = PROC) -> int:
    """1 when the freezer is a v1 controller, as on hybrid systems; else 2."""
    return 1 if _mount("cgroup", "freezer", proc) else 2


def _folder(path: str, container_id: str, pid: int, kind: str, option: str, proc: Path) -> Path:
    if container_id not in path:
        raise NoCgroup(f"process {pid} does not belong to container {container_id[:12]}: its cgroup is {path}")
    mount = _mount(kind, option, proc)
    if mount is None:
        raise NoCgroup(
            f"no {kind} {option} file system is mounted in the agent's view: run it in the node's namespaces"
        )
    root, target = mount
    inside = path.removeprefix(root.rstrip("/")).lstrip("/")
    # A process that entered a cgroup of its own inside the container leads to the container's all the same.
    parts = Path(inside).parts
    depth = max(index for index, part in enumerate(parts) if container_id in part) + 1
    return target.joinpath(*parts[:depth])


def _mount(kind: str, option: str, proc: Path) -> tuple[str, Path] | None:
    """Root and mount point of a cgroup file system."""
    for line in (proc / "self" / "mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        fields, described = left.split(" "), right.split(" ")
        if described[0] == kind and (not option or option in described[2].split(",")):
            return fields[3], Path(fields[4])
    return None

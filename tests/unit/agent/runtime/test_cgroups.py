"""Finding a container's freezer in both worlds of cgroups."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmkeep.agent.runtime.cgroups import FreezerCgroup, NoCgroup, cgroup_version, find_freezer

ID = "f26d96a65748"
V1_MOUNT = "30 25 0:30 / /sys/fs/cgroup/freezer rw,nosuid shared:9 - cgroup cgroup rw,freezer\n"
V2_MOUNT = "31 25 0:31 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID_MOUNT = "31 25 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


def proc(folder: Path, mounts: str, cgroup: str) -> Path:
    (folder / "self").mkdir()
    (folder / "self" / "mountinfo").write_text("1 0 0:1 / / rw - ext4 /dev/vda rw\n" + mounts)
    (folder / "7").mkdir()
    (folder / "7" / "cgroup").write_text(cgroup)
    return folder


def test_finds_the_freezer_of_version_1(tmp_path: Path) -> None:
    root = proc(tmp_path, V1_MOUNT + HYBRID_MOUNT, f"6:freezer:/docker/{ID}\n0::/docker/{ID}\n")
    assert find_freezer(7, ID, root) == FreezerCgroup(Path(f"/sys/fs/cgroup/freezer/docker/{ID}"), 1)
    assert cgroup_version(root) == 1


def test_finds_the_freezer_of_version_2(tmp_path: Path) -> None:
    root = proc(tmp_path, V2_MOUNT, f"0::/system.slice/docker-{ID}.scope\n")
    found = find_freezer(7, ID, root)
    assert found == FreezerCgroup(Path(f"/sys/fs/cgroup/system.slice/docker-{ID}.scope"), 2)
    assert found.control.name == "cgroup.freeze"
    assert cgroup_version(root) == 2


def test_finds_the_container_of_a_process_that_went_into_a_cgroup_below(tmp_path: Path) -> None:
    root = proc(tmp_path, V2_MOUNT, f"0::/docker/{ID}/init.scope\n")
    assert find_freezer(7, ID, root).folder == Path(f"/sys/fs/cgroup/docker/{ID}")


def test_follows_a_mount_that_shows_only_a_part(tmp_path: Path) -> None:
    mount = V1_MOUNT.replace(" / /sys", " /outer /sys")
    root = proc(tmp_path, mount, f"6:freezer:/outer/docker/{ID}\n")
    assert find_freezer(7, ID, root).folder == Path(f"/sys/fs/cgroup/freezer/docker/{ID}")


def test_never_takes_another_process_for_the_container(tmp_path: Path) -> None:
    root = proc(tmp_path, V1_MOUNT, "6:freezer:/docker/another\n")
    with pytest.raises(NoCgroup, match="does not belong"):
        find_freezer(7, ID, root)


def test_says_so_when_the_process_is_gone(tmp_path: Path) -> None:
    root = proc(tmp_path, V1_MOUNT, "")
    with pytest.raises(NoCgroup, match="is gone"):
        find_freezer(8, ID, root)


@pytest.mark.parametrize(
    ("version", "name", "text"), [(1, "freezer.state", "FROZEN\n"), (2, "cgroup.events", "populated 1\nfrozen 1\n")]
)
def test_knows_when_every_thread_stands_still(tmp_path: Path, version: int, name: str, text: str) -> None:
    cgroup = FreezerCgroup(tmp_path, version)
    (tmp_path / name).write_text(text)
    assert cgroup.is_frozen()
    (tmp_path / name).write_text(text.replace("FROZEN", "FREEZING").replace("frozen 1", "frozen 0"))
    assert not cgroup.is_frozen()


def test_lists_the_processes_of_cgroups_below_too(tmp_path: Path) -> None:
    (tmp_path / "below" / "deeper").mkdir(parents=True)
    (tmp_path / "cgroup.procs").write_text("1\n2\n")
    (tmp_path / "below" / "deeper" / "cgroup.procs").write_text("3\n")
    assert sorted(FreezerCgroup(tmp_path, 2).processes()) == [1, 2, 3]

"""A copy that was made while the container ran counts only if the file cannot have changed since."""

from __future__ import annotations

import mmap
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarmkeep.agent.runtime import copied_ahead as module
from swarmkeep.agent.runtime import file_copy, layer
from swarmkeep.agent.runtime.copied_ahead import copy_ahead, has_writers, tells_changes
from swarmkeep.agent.runtime.file_copy import no_check
from swarmkeep.agent.runtime.layer_index import FILES

LARGE = 100_000


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a kind that tells changes, whatever the tests lie on; its files count as old."""
    monkeypatch.setattr(module, "tells_changes", lambda folder: True)
    monkeypatch.setattr(module, "SETTLED_NS", 0)
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder


def ahead(volume: Path) -> set[str]:
    files = volume.parent / "captured" / FILES
    files.mkdir(parents=True)
    return set(copy_ahead(volume, files, 4096, no_check))


def test_only_quiet_large_regular_files_are_copied(volume: Path) -> None:
    (volume / "folder").mkdir()
    for name in ("quiet", "folder/quiet", "open", "mapped", "small"):
        (volume / name).write_bytes(b"x" * (10 if name == "small" else LARGE))
    os.mkfifo(volume / "fifo")
    (volume / "link").symlink_to("quiet")
    with (volume / "open").open("ab"), (volume / "mapped").open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
        file.close()
        assert ahead(volume) == {"quiet", "folder/quiet"}
        mapped.close()


def test_a_file_that_has_just_changed_is_left_for_later(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED_NS", 3_000_000_000)
    (volume / "new").write_bytes(b"x" * LARGE)
    assert ahead(volume) == set()


def test_a_file_that_changes_while_it_is_copied_is_left_for_later(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (volume / "file").write_bytes(b"x" * LARGE)
    real = file_copy.copy_content

    def copy(source: int, target: int, size: int, check: Callable[[], None] = no_check) -> None:
        real(source, target, size, check)
        time.sleep(0.02)
        (volume / "file").write_bytes(b"y" * LARGE)

    monkeypatch.setattr(module, "copy_content", copy)
    assert ahead(volume) == set()
    assert os.listdir(volume.parent / "captured" / FILES) == []


def test_a_file_that_is_written_right_after_nobody_had_it_open_is_left_for_later(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wrote may go on through a map of it, which would not show."""
    (volume / "file").write_bytes(b"x" * LARGE)

    def asked(opened: int) -> bool:
        answer = has_writers(opened)
        time.sleep(0.02)
        (volume / "file").write_bytes(b"y" * LARGE)
        return answer

    monkeypatch.setattr(module, "has_writers", asked)
    assert ahead(volume) == set()


def test_where_a_map_changes_a_file_and_not_its_time_nothing_is_copied_ahead(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    device = tmp_path.stat().st_dev
    line = "1 1 {}:{} / / rw - {} none rw\n"
    for kind, told in (("ext4", True), ("xfs", True), ("tmpfs", False), ("overlay", False), ("nfs4", False)):
        mounts.write_text(line.format(os.major(device), os.minor(device), kind))
        assert tells_changes(tmp_path, mounts) is told
    mounts.write_text(line.format(0, 999_999, "ext4"))
    assert not tells_changes(tmp_path, mounts)


def test_asking_for_writers_leaves_no_lease_behind(volume: Path) -> None:
    (volume / "file").write_bytes(b"x")
    with (volume / "file").open("rb") as file:
        assert not has_writers(file.fileno())
        # Would wait for the lease to be given back.
        begun = time.monotonic()
        with (volume / "file").open("ab"):
            assert has_writers(file.fileno())
        assert time.monotonic() - begun < 5


# What happens between the copy and the standstill, and what was open before.

NAMES = st.sampled_from(["a", "b", "c/d"])
ACTIONS = st.sampled_from(["rewrite", "append", "overwrite", "truncate", "replace", "rename", "remove", "keep times"])


@contextmanager
def writers(volume: Path, held: list[str]) -> Iterator[list[int]]:
    handles = [os.open(volume / name, os.O_RDWR) for name in held if (volume / name).exists()]
    try:
        yield handles
    finally:
        for handle in handles:
            os.close(handle)


def act(volume: Path, name: str, action: str) -> None:
    path = volume / name
    if not path.exists() or action == "rewrite":
        path.write_bytes(os.urandom(LARGE))
    elif action == "append":
        with path.open("ab") as file:
            file.write(b"more")
    elif action in ("overwrite", "keep times"):
        before = path.stat()
        with path.open("r+b") as file:
            file.seek(5000)
            file.write(os.urandom(8))
        if action == "keep times":
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif action == "truncate":
        os.truncate(path, path.stat().st_size // 2)
    elif action == "replace":
        other = volume / "other"
        other.write_bytes(os.urandom(path.stat().st_size))
        other.rename(path)
    elif action == "rename":
        path.rename(volume / "c" / "renamed")
    else:
        path.unlink()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NAMES, unique=True), st.lists(st.tuples(NAMES, ACTIONS), max_size=6), st.booleans())
def test_whatever_happens_in_between_the_capture_is_of_the_later_instant(
    volume: Path, held: list[str], actions: list[tuple[str, str]], write_held: bool
) -> None:
    for folder in (volume, volume.parent / "captured", volume.parent / "back"):
        shutil.rmtree(folder, ignore_errors=True)
    (volume / "c").mkdir(parents=True)
    for name in ("a", "b", "c/d"):
        (volume / name).write_bytes(os.urandom(LARGE))
    captured, back = volume.parent / "captured", volume.parent / "back"
    (captured / FILES).mkdir(parents=True)
    with writers(volume, held) as handles:
        # Coarse clocks tick every few milliseconds; in real life files have to be quiet for seconds.
        time.sleep(0.02)
        copied = copy_ahead(volume, captured / FILES, 4096, no_check)
        for name, action in actions:
            act(volume, name, action)
        for handle in handles if write_held else ():
            os.pwrite(handle, os.urandom(100), 3000)
        layer.capture_folder(volume, captured, copied)
    back.mkdir()
    layer.apply(captured, back)
    assert tree(back) == tree(volume)
    assert not set(held) & set(copied)


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

"""A writable layer comes out of a container and into the next one as it was."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarmkeep.agent.runtime import layer
from swarmkeep.agent.runtime.layer_capture import INLINE_LIMIT
from swarmkeep.agent.runtime.layer_index import (
    FILES,
    INDEX,
    Entry,
    EntryType,
    content_name,
    encode,
    encode_head,
)
from swarmkeep.errors import CorruptData, DataError, MissingData, NewerFormat, RestoreFailed


def describe(root: Path) -> dict[str, Any]:
    """Everything about a tree that a process could see."""
    seen: dict[str, Any] = {}
    names: dict[int, str] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        facts = path.lstat()
        kind = stat.S_IFMT(facts.st_mode)
        about: list[Any] = [facts.st_mode, facts.st_uid, facts.st_gid, facts.st_rdev, facts.st_mtime_ns]
        about.append(
            {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}
        )
        if kind == stat.S_IFREG:
            about += [path.read_bytes(), names.setdefault(facts.st_ino, str(path.relative_to(root)))]
        elif kind == stat.S_IFLNK:
            about.append(os.readlink(path))
        seen[str(path.relative_to(root))] = about
    return seen


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    folder = tmp_path / "upper"
    folder.mkdir()
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def move(upper: Path, root: Path) -> None:
    """Captures and applies."""
    target = upper.parent / "layer"
    shutil.rmtree(target, ignore_errors=True)
    layer.capture(upper, target)
    layer.apply(target, root)


def test_carries_everything_that_a_file_can_be(upper: Path, root: Path) -> None:
    (upper / "small").write_bytes(b"hello")
    (upper / "large").write_bytes(os.urandom(300_000))
    (upper / "empty").touch()
    (upper / "folder" / "deep").mkdir(parents=True)
    (upper / "folder" / "secret").write_bytes(b"x")
    (upper / "folder" / "secret").chmod(0o4750)
    os.chown(upper / "folder" / "secret", 1234, 4321)
    (upper / "folder").chmod(0o1733)
    os.setxattr(upper / "folder", "user.note", b"\0\xff")
    os.setxattr(upper / "small", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    os.link(upper / "large", upper / "folder" / "same")
    (upper / "link").symlink_to("/etc/passwd")
    os.chown(upper / "link", 7, 7, follow_symlinks=False)
    os.mkfifo(upper / "fifo")
    os.mknod(upper / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(upper / "disk", stat.S_IFBLK | 0o600, os.makedev(7, 9))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(upper / "socket"))
    (upper / os.fsdecode(b"\xff\n odd \\ name")).write_bytes(b"y")
    for path in upper.rglob("*"):
        os.utime(path, ns=(1, 1_600_000_000_123_456_789), follow_symlinks=False)
    move(upper, root)
    assert describe(root) == describe(upper)


def test_keeps_the_holes_of_a_sparse_file(upper: Path, root: Path) -> None:
    with (upper / "sparse").open("wb") as file:
        file.seek(20 << 20)
        file.write(b"tail")
        file.truncate(40 << 20)
    move(upper, root)
    copied = (root / "sparse").stat()
    assert (copied.st_size, copied.st_blocks * 512 < 1 << 20) == (40 << 20, True)
    assert describe(root) == describe(upper)


def test_deletes_what_the_container_deleted(upper: Path, root: Path) -> None:
    for name in ("gone", "there"):
        (root / name / "deep").mkdir(parents=True)
    (root / "file").touch()
    for name in ("gone", "file", "never-was"):
        os.mknod(upper / name, stat.S_IFCHR, os.makedev(0, 0))
    move(upper, root)
    assert sorted(path.name for path in root.iterdir()) == ["there"]


def test_replaces_a_folder_that_the_container_made_anew(upper: Path, root: Path) -> None:
    (root / "opaque").mkdir()
    (root / "opaque" / "old").touch()
    (root / "merged").mkdir()
    (root / "merged" / "old").touch()
    for name in ("opaque", "merged"):
        (upper / name).mkdir()
        (upper / name / "new").touch()
    os.setxattr(upper / "opaque", "user.overlay.opaque", b"y")
    move(upper, root)
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == [
        "merged",
        "merged/new",
        "merged/old",
        "opaque",
        "opaque/new",
    ]
    assert os.listxattr(root / "opaque") == []


def test_puts_one_kind_in_place_of_another(upper: Path, root: Path) -> None:
    (root / "a" / "x").mkdir(parents=True)
    (root / "b").touch()
    (root / "c").symlink_to("a")
    (upper / "a").write_text("file")
    (upper / "b").mkdir()
    (upper / "b" / "y").touch()
    (upper / "c").mkdir()
    (upper / "c" / "z").touch()
    move(upper, root)
    assert describe(root) == describe(upper)


def test_leaves_out_what_docker_makes_for_every_container(upper: Path, root: Path) -> None:
    (upper / "etc").mkdir()
    for name in ("etc/hosts", "etc/hostname", "etc/resolv.conf", ".dockerenv", "etc/passwd"):
        (upper / name).write_text("old")
    (root / "etc").mkdir()
    (root / "etc" / "hosts").write_text("new")
    move(upper, root)
    assert (root / "etc" / "hosts").read_text() == "new"
    assert sorted(path.name for path in root.rglob("*")) == ["etc", "hosts", "passwd"]


def test_an_untouched_layer_is_an_empty_folder(upper: Path, root: Path) -> None:
    assert layer.capture(upper, upper.parent / "layer") == 0
    assert list((upper.parent / "layer").iterdir()) == []
    layer.apply(upper.parent / "layer", root)
    assert list(root.iterdir()) == []


def test_may_be_applied_again_after_it_was_interrupted(upper: Path, root: Path) -> None:
    (upper / "folder").mkdir()
    (upper / "folder" / "file").write_bytes(os.urandom(INLINE_LIMIT + 1))
    os.link(upper / "folder" / "file", upper / "other")
    os.setxattr(upper / "folder", "user.overlay.opaque", b"y")
    move(upper, root)
    (root / "folder" / "half").touch()
    move(upper, root)
    os.removexattr(upper / "folder", "user.overlay.opaque")
    assert describe(root) == describe(upper)


def test_refuses_what_only_overlayfs_can_undo(upper: Path) -> None:
    (upper / "renamed").mkdir()
    os.setxattr(upper / "renamed", "user.overlay.redirect", b"/old")
    with pytest.raises(layer.LayerUnsupported, match="redirect_dir"):
        layer.capture(upper, upper.parent / "layer")
    assert not (upper.parent / "layer" / INDEX).exists()


def test_a_full_disk_leaves_nothing_that_looks_whole(upper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (upper / "large").write_bytes(bytes(100_000))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("swarmkeep.agent.runtime.layer_capture.copy_content", full)
    with pytest.raises(OSError, match="No space"):
        layer.capture(upper, upper.parent / "layer")
    assert not (upper.parent / "layer" / INDEX).exists()


def hostile(tmp_path: Path, *entries: Entry | str) -> Path:
    """A layer that nobody captured."""
    source = tmp_path / "hostile"
    source.mkdir()
    lines = [encode_head(), *(entry if isinstance(entry, str) else encode(entry) for entry in entries)]
    (source / INDEX).write_text("\n".join(lines) + "\n")
    return source


@pytest.mark.parametrize("path", ["../out", "/out", "a/../../out", "a//b", ".", "a/./b", "a\0b"])
def test_never_leaves_the_root_by_its_path(tmp_path: Path, root: Path, path: str) -> None:
    source = hostile(tmp_path, Entry(path, EntryType.FILE, 0o644, content=b""))
    with pytest.raises(CorruptData):
        layer.apply(source, root)
    assert not (tmp_path / "out").exists()


def test_never_leaves_the_root_through_a_link(tmp_path: Path, root: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("mine")
    source = hostile(
        tmp_path,
        Entry("way", EntryType.SYMLINK, target=str(tmp_path / "outside")),
        Entry("way/file", EntryType.FILE, 0o644, content=b""),
    )
    with pytest.raises(RestoreFailed):
        layer.apply(source, root)
    assert (tmp_path / "outside" / "file").read_text() == "mine"


def test_never_changes_what_a_link_in_the_image_leads_to(tmp_path: Path, upper: Path, root: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    victim.chmod(0o600)
    (root / "file").symlink_to(victim)
    (upper / "file").write_text("theirs")
    (upper / "file").chmod(0o666)
    move(upper, root)
    assert (victim.read_text(), stat.S_IMODE(victim.stat().st_mode)) == ("mine", 0o600)
    assert (root / "file").read_text() == "theirs"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "{}",
        '{"path":"a","type":"wormhole"}',
        '{"path":"a","type":"file","size":3,"content":"eA=="}',
        '{"path":"a","type":"link","target":"../../etc/shadow"}',
        '{"path":"a","type":"file","mode":"x"}',
        '{"path":7,"type":"file"}',
    ],
)
def test_goes_on_with_no_damaged_entry(tmp_path: Path, root: Path, line: str) -> None:
    with pytest.raises(DataError):
        layer.apply(hostile(tmp_path, line), root)


def test_goes_on_with_no_lost_or_shortened_content(tmp_path: Path, upper: Path, root: Path) -> None:
    (upper / "large").write_bytes(bytes(INLINE_LIMIT + 1))
    source = tmp_path / "layer"
    layer.capture(upper, source)
    content = source / FILES / content_name("large")
    os.truncate(content, 5)
    with pytest.raises(CorruptData, match="length"):
        layer.apply(source, root)
    content.unlink()
    with pytest.raises(MissingData):
        layer.apply(source, root)


def test_says_so_when_it_is_newer_than_this_program(tmp_path: Path, root: Path) -> None:
    source = tmp_path / "layer"
    source.mkdir()
    (source / INDEX).write_text('{"format":"swarmkeep-layer","version":2}\n')
    with pytest.raises(NewerFormat):
        layer.apply(source, root)


NAMES = st.sampled_from(["a", "b", "c", "ü", "x y"])
CONTENTS = st.one_of(st.binary(max_size=20), st.integers(INLINE_LIMIT - 1, INLINE_LIMIT + 2).map(bytes))
NODES = st.recursive(
    st.one_of(
        st.tuples(st.just("file"), CONTENTS, st.sampled_from([0o600, 0o755, 0o4711])),
        st.tuples(st.just("link"), NAMES),
        st.tuples(st.just("fifo")),
    ),
    lambda inner: st.tuples(
        st.just("folder"), st.dictionaries(NAMES, inner, max_size=4), st.sampled_from([0o700, 0o1777])
    ),
    max_leaves=12,
)
TREES = st.dictionaries(NAMES, NODES, max_size=4)


def build(folder: Path, tree: dict[str, Any]) -> None:
    for name, node in tree.items():
        path = folder / name
        match node:
            case ("file", content, mode):
                path.write_bytes(content)
                path.chmod(mode)
            case ("link", target):
                path.symlink_to(target)
            case ("fifo",):
                os.mkfifo(path)
            case ("folder", inner, mode):
                path.mkdir()
                build(path, inner)
                path.chmod(mode)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=TREES, after=TREES)
def test_a_layer_that_replaces_everything_gives_the_same_tree_whatever_was_there(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, tree in (("root", before), ("upper", after)):
            (folder / part).mkdir()
            build(folder / part, tree)
        # An upper layer says what is gone, and which of its folders do not shine through.
        for gone in before.keys() - after.keys():
            os.mknod(folder / "upper" / gone, stat.S_IFCHR, os.makedev(0, 0))
        for path in (folder / "upper").rglob("*"):
            if path.is_dir() and not path.is_symlink():
                facts = path.stat()
                os.setxattr(path, "user.overlay.opaque", b"y")
                os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        move(folder / "upper", folder / "root")
        for gone in before.keys() - after.keys():
            (folder / "upper" / gone).unlink()
        for path in (folder / "upper").rglob("*"):
            if path.is_dir() and not path.is_symlink():
                os.removexattr(path, "user.overlay.opaque")
        seen, expected = describe(folder / "root"), describe(folder / "upper")
        # Making and removing the marks changed the time of the topmost folder.
        seen["."][4] = expected["."][4] = 0
        assert seen == expected


def move_folder(source: Path, root: Path) -> None:
    target = source.parent / "volume"
    shutil.rmtree(target, ignore_errors=True)
    layer.capture_folder(source, target)
    layer.apply(target, root)


def test_in_a_volume_nothing_stands_for_a_deletion(upper: Path, root: Path) -> None:
    """Docker in a container keeps its own layers in a volume."""
    os.mknod(upper / "whiteout", stat.S_IFCHR, os.makedev(0, 0))
    (upper / "opaque").mkdir()
    os.setxattr(upper / "opaque", "trusted.overlay.opaque", b"y")
    os.setxattr(upper / "opaque", "trusted.overlay.redirect", b"/x")
    (upper / ".dockerenv").write_text("mine")
    (upper / "etc").mkdir()
    (upper / "etc" / "hosts").write_text("mine")
    move_folder(upper, root)
    assert describe(root) == describe(upper)


def test_an_empty_volume_keeps_the_facts_of_its_root(upper: Path, root: Path) -> None:
    os.chown(upper, 999, 998)
    upper.chmod(0o2770)
    os.setxattr(upper, "user.note", b"x")
    os.utime(upper, ns=(1, 1_600_000_000_123_456_789))
    move_folder(upper, root)
    assert describe(root) == describe(upper)


def test_another_file_system_inside_of_a_volume_is_refused_in_words(
    upper: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (upper / "deep" / "mounted").mkdir(parents=True)
    inode = (upper / "deep" / "mounted").stat().st_ino
    real = os.fstat

    def fstat(handle: int) -> os.stat_result:
        found = real(handle)
        return os.stat_result((*found[:2], 77, *found[3:10])) if found.st_ino == inode else found

    monkeypatch.setattr(os, "fstat", fstat)
    with pytest.raises(layer.FolderUnsupported, match="mounted at deep/mounted"):
        move_folder(upper, root)

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swarmkeep.errors import Conflict, CorruptData, HostError, StorageFull, Unavailable
from swarmkeep.store.blob_local import LocalBlobStore


def fail(number: int) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


def test_a_folder_that_is_not_there_is_unavailable_and_never_made(tmp_path: Path) -> None:
    blobs = LocalBlobStore(tmp_path / "unmounted")

    for call in (
        lambda: blobs.put("a", [b"x"]),
        lambda: blobs.get("a", 1),
        lambda: blobs.read("a", 0, 1),
        lambda: list(blobs.list("")),
        lambda: blobs.delete("a"),
        lambda: blobs.discard_unfinished(0),
    ):
        with pytest.raises(Unavailable, match="does not exist on this node"):
            call()
    assert not (tmp_path / "unmounted").exists()


def test_blobs_and_folders_are_for_their_owner_only(tmp_path: Path) -> None:
    LocalBlobStore(tmp_path).put("a/b", [b"secret"])

    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o600


def test_a_put_that_the_process_did_not_finish_is_invisible_until_it_is_discarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = LocalBlobStore(tmp_path)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    monkeypatch.setattr(os, "link", fail(5))
    with pytest.raises(Unavailable):
        blobs.put("a", [b"x" * 100])
    monkeypatch.undo()
    (left,) = (tmp_path / ".unfinished").iterdir()
    written_at = left.stat().st_mtime

    assert list(blobs.list("")) == []
    assert blobs.discard_unfinished(written_at - 1) == 0
    assert blobs.discard_unfinished(written_at + 1) == 1
    assert not left.exists()


@pytest.mark.parametrize("number", [28, 122])
def test_a_full_disk_says_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    blobs = LocalBlobStore(tmp_path)
    monkeypatch.setattr(os, "fsync", fail(number))

    with pytest.raises(StorageFull, match="no space left"):
        blobs.put("a", [b"x"])

    assert list((tmp_path / ".unfinished").iterdir()) == []
    assert list(blobs.list("")) == []


def test_a_read_only_mount_is_the_hosts_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", fail(30))

    with pytest.raises(HostError, match="Read-only"):
        LocalBlobStore(tmp_path).put("a", [b"x"])


def test_a_link_that_the_server_made_and_then_denied_counts_as_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def link_and_deny(source: Path, target: Path, **kwargs: bool) -> None:
        link(source, target, **kwargs)
        raise FileExistsError(17, "File exists")

    monkeypatch.setattr(os, "link", link_and_deny)
    blobs = LocalBlobStore(tmp_path)

    blobs.put("a", [b"x"])

    assert blobs.get("a", 1) == b"x"


def test_a_name_taken_between_look_and_link_is_a_conflict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = LocalBlobStore(tmp_path)
    blobs.put("a", [b"first"])
    monkeypatch.setattr(Path, "exists", lambda *_, **__: False)

    with pytest.raises(Conflict):
        blobs.put("a", [b"second"])

    assert blobs.get("a", 5) == b"first"


def test_a_folder_that_a_delete_removes_beneath_a_put_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link
    rounds: list[Path] = []

    def remove_first(source: Path, target: Path, **kwargs: bool) -> None:
        if not rounds:
            target.parent.rmdir()
        rounds.append(target)
        link(source, target, **kwargs)

    monkeypatch.setattr(os, "link", remove_first)
    blobs = LocalBlobStore(tmp_path)

    blobs.put("a/b/c", [b"x"])

    assert len(rounds) == 2
    assert blobs.get("a/b/c", 1) == b"x"


def test_a_deleted_blob_leaves_no_empty_folders_but_the_top_one(tmp_path: Path) -> None:
    blobs = LocalBlobStore(tmp_path)
    blobs.put("m/ns/name/1", [b"x"])

    blobs.delete("m/ns/name/1")

    assert sorted(path.name for path in tmp_path.iterdir()) == [".unfinished", "m"]
    assert list((tmp_path / "m").iterdir()) == []


def test_a_link_in_place_of_a_blob_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").symlink_to(secret)
    blobs = LocalBlobStore(root)

    with pytest.raises(HostError):
        blobs.get("a", 100)
    assert list(blobs.list("")) == []


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_something_else_in_place_of_a_blob_is_damage_and_does_not_block(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "a")

    with pytest.raises(CorruptData, match="no regular file"):
        LocalBlobStore(tmp_path).get("a", 100)


class StaleListings:
    """An NFS client: lists a folder from memory until it has changed that folder itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._scandir, self._open = os.scandir, os.open
        self._known: dict[str, list[os.DirEntry[str]] | None] = {}
        monkeypatch.setattr(os, "scandir", self.scandir)
        monkeypatch.setattr(os, "open", self.open)

    @contextmanager
    def scandir(self, folder: Path) -> Iterator[list[os.DirEntry[str]]]:
        if str(folder) not in self._known:
            try:
                self._known[str(folder)] = list(self._scandir(folder))
            except FileNotFoundError:
                self._known[str(folder)] = None
        found = self._known[str(folder)]
        if found is None:
            raise FileNotFoundError
        yield found

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = self._open(path, flags, mode)
        if flags & os.O_CREAT:
            # What was looked up in vain in a changed folder is looked up again as well.
            for known, found in list(self._known.items()):
                if Path(known) == path.parent or (found is None and Path(known).parent == path.parent):
                    del self._known[known]
        return descriptor


def test_a_listing_over_nfs_has_what_another_node_has_just_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = LocalBlobStore(tmp_path)
    here.put("m/a/1", [b""])
    StaleListings(monkeypatch)
    before = [sorted(info.key for info in here.list(prefix)) for prefix in ("", "m/a/", "m/b/")]
    for name in ("a/2", "b/1"):
        (tmp_path / "m" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "m" / name).write_bytes(b"")

    after = [sorted(info.key for info in here.list(prefix)) for prefix in ("m/a/", "m/b/", "")]

    assert before == [["m/a/1"], ["m/a/1"], []]
    assert after == [["m/a/1", "m/a/2"], ["m/b/1"], ["m/a/1", "m/a/2", "m/b/1"]]
    assert not list(tmp_path.rglob(".probe-*"))


def test_files_that_nobody_put_under_hidden_names_are_not_listed(tmp_path: Path) -> None:
    (tmp_path / ".nfs0001").write_bytes(b"")
    (tmp_path / "lost+found").mkdir()

    assert list(LocalBlobStore(tmp_path).list("")) == []

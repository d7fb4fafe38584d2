"""The journal: whole or not at all, and never a reason not to start."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.agent.journal import Journal, write_atomically
from swarmkeep.errors import StorageFull


def test_what_is_written_is_there_for_the_next_life(tmp_path: Path) -> None:
    Journal(tmp_path).write("default/redis.1", {"a": 1})
    Journal(tmp_path).write("default/redis.1", {"a": 2})
    assert list(Journal(tmp_path).items()) == [("default/redis.1", {"a": 2})]


def test_what_is_removed_is_gone_and_removing_it_again_is_no_error(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write("k", {})
    journal.remove("k")
    journal.remove("k")
    assert list(journal.items()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"key": 1, "value": {}}', b'{"key": "k", "value": 3}'])
def test_a_damaged_file_is_set_aside_and_the_rest_is_read(tmp_path: Path, content: bytes) -> None:
    journal = Journal(tmp_path)
    journal.write("good", {"a": 1})
    (tmp_path / "bad.json").write_bytes(content)
    assert list(journal.items()) == [("good", {"a": 1})]
    assert (tmp_path / "bad.damaged").read_bytes() == content


@given(keys=st.sets(st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()), max_size=5))
def test_no_key_leaves_the_folder_or_meets_another(tmp_path_factory: pytest.TempPathFactory, keys: set[str]) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder)
    for key in keys:
        journal.write(key, {"is": key})
    assert {key: value["is"] for key, value in journal.items()} == {key: key for key in keys}
    assert len(list(folder.iterdir())) == len(keys)


def test_what_a_full_disk_refuses_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
        journal.write("a", {"n": 1})
        journal.write("b", {"n": 2})
        journal.remove("b")
    assert list(Journal(tmp_path).items()) == []
    journal.write("c", {"n": 3})
    assert dict(Journal(tmp_path).items()) == {"a": {"n": 1}, "c": {"n": 3}}


def test_a_full_disk_leaves_the_old_content_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match="no space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]

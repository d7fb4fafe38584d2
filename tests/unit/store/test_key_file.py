from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest

from swarmkeep.errors import KeyFileUnusable
from swarmkeep.store.key_file import load_keyring, read_key_file

SECRET = bytes(range(32))
LINE = base64.b64encode(SECRET)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "main.key"


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    "content",
    [LINE, LINE + b"\n", b"\n  " + LINE + b" \r\n\n", b"# key of main, made 2026-11-24\n" + LINE + b"\n"],
)
def test_one_line_of_base64_is_a_key(path: Path, content: bytes) -> None:
    key, warning = read_key_file(write(path, content))

    assert (key.secret, key.source, warning) == (SECRET, str(path), "")


def test_what_openssl_writes_is_a_key(path: Path) -> None:
    made = subprocess.run(["openssl", "rand", "-base64", "32"], capture_output=True, check=True).stdout

    assert len(read_key_file(write(path, made))[0].secret) == 32


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n# only a note\n",
        LINE + b"\n" + LINE,
        base64.b64encode(SECRET[:31]),
        base64.b64encode(SECRET + b"x"),
        base64.b64encode(bytes(32)),
        LINE[:-1],
        LINE.replace(b"A", b"?", 1),
        SECRET,
        b"-----BEGIN PRIVATE KEY-----\n" + LINE + b"\n-----END PRIVATE KEY-----\n",
        b"\xff" * 44,
        LINE * 200,
    ],
)
def test_anything_else_is_no_key_and_is_not_shown(path: Path, content: bytes) -> None:
    with pytest.raises(KeyFileUnusable, match="openssl rand") as raised:
        read_key_file(write(path, content))

    assert LINE.decode()[:10] not in str(raised.value)


def test_a_file_that_is_not_there_is_said(path: Path) -> None:
    with pytest.raises(KeyFileUnusable, match=f"no key file {path}.*other nodes have"):
        read_key_file(path)


def test_what_is_no_file_is_said_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(KeyFileUnusable, match="no regular file"):
            read_key_file(path)
    with pytest.raises(KeyFileUnusable, match="cannot be read: Not a directory"):
        read_key_file(write(tmp_path / "file", LINE) / "key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601])
def test_a_file_that_others_can_open_is_said(path: Path, mode: int) -> None:
    key, warning = read_key_file(write(path, LINE, mode))

    assert key.secret == SECRET
    assert warning == f"{path} is open to others than its owner (mode {mode:04o}): chmod 600"


def test_a_file_that_belongs_to_somebody_else_is_said(path: Path) -> None:
    os.chown(write(path, LINE), 1234, 0)

    assert "belongs to user 1234" in read_key_file(path)[1]


def test_a_ring_has_the_current_key_and_the_previous_ones(tmp_path: Path) -> None:
    old = write(tmp_path / "old", base64.b64encode(bytes(31) + b"1"), 0o644)
    new = write(tmp_path / "new", LINE)

    keyring, exposed = load_keyring(new, [old])

    assert keyring.current.secret == SECRET
    assert len(keyring.ids) == 2
    assert [str(old) in sentence for sentence in exposed] == [True]
    with pytest.raises(KeyFileUnusable):
        load_keyring(new, [old, tmp_path / "none"])

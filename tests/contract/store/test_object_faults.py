"""A real S3 server over a bad network, and with what some servers lack: nothing is lost, nothing takes for ever."""

from __future__ import annotations

import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import swarmkeep
from swarmkeep.errors import Conflict, CorruptData, HostError, MissingData, Unavailable
from swarmkeep.store.blob import Absent, BlobStore
from swarmkeep.store.blob_object import ObjectBlobStore
from swarmkeep.store.blob_retry import RetryingBlobStore, RetrySettings
from swarmkeep.store.object_claims import CLAIMS
from swarmkeep.store.object_client import ObjectClient, ObjectSettings
from swarmkeep.store.object_probe import PROBES
from swarmkeep.store.repository import Repository
from swarmlab.s3_server import sign

from ...s3_server import FaultyProxy, settings

OPERATOR = Path(swarmkeep.__file__).parents[1]
FAST = RetrySettings(limit_s=20, first_wait_s=0.02, longest_wait_s=0.1)


@pytest.fixture
def place(proxy: FaultyProxy) -> ObjectSettings:
    """Through the proxy, below a prefix of its own."""
    return settings(proxy.address, secrets.token_hex(8), answer_limit_s=1.0)


def store(place: ObjectSettings) -> ObjectBlobStore:
    return ObjectBlobStore(ObjectClient(place))


def patient(place: ObjectSettings) -> RetryingBlobStore:
    return RetryingBlobStore(store(place), FAST)


def names(place: ObjectSettings, prefix: str = "") -> list[str]:
    return sorted(info.key for info in ObjectClient(place).list(prefix))


def fill(folder: Path, megabytes: int = 3) -> Path:
    folder.mkdir()
    (folder / "pages-1.img").write_bytes(secrets.token_bytes(megabytes << 20))
    (folder / "small").write_bytes(b"small")
    return folder


@pytest.mark.parametrize("fault", ["503", "hang", "lost", "cut"])
@pytest.mark.parametrize("seed", range(3))
def test_versions_are_stored_and_read_back_over_a_bad_network(
    proxy: FaultyProxy, place: ObjectSettings, tmp_path: Path, fault: str, seed: int
) -> None:
    chance = random.Random(seed)
    proxy.faults.extend(fault if chance.random() < 0.2 else "" for _ in range(200))
    source = fill(tmp_path / "source")

    repository = Repository.open(patient(place), create=True)
    repository.put("default/redis.1", 1, source, {"a": 1})
    repository.get("default/redis.1", 1, tmp_path / "target")

    assert (tmp_path / "target/pages-1.img").read_bytes() == (source / "pages-1.img").read_bytes()
    assert repository.versions("default/redis.1") == [1]
    assert len(proxy.faults) < 190
    proxy.faults.clear()
    assert {name.split("/")[0] for name in names(place)} <= {"swarmkeep-location", "manifests", "packs", ".probes"}


def test_a_storm_of_refusals_is_waited_out_and_a_longer_one_is_told(proxy: FaultyProxy, place: ObjectSettings) -> None:
    blobs = patient(place)
    blobs.put("before", [b"x"])

    proxy.faults.extend(["503"] * 12)
    blobs.put("a", [b"content"])
    assert blobs.get("a", 10) == b"content"

    proxy.faults.extend(["503"] * 10_000)
    impatient = RetryingBlobStore(store(place), RetrySettings(limit_s=1, first_wait_s=0.02, longest_wait_s=0.1))
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="503"):
        impatient.get("a", 10)
    assert time.monotonic() - begun < 5
    proxy.faults.clear()
    assert blobs.get("a", 10) == b"content"


def test_who_dies_in_the_middle_of_a_put_leaves_nothing(s3: str) -> None:
    place = settings(s3, secrets.token_hex(8))
    content = secrets.token_bytes(1 << 20)
    path = f"/{place.bucket}/{place.prefix}/packs/a"
    headers = sign("PUT", s3, path, content, place.access_key, place.secret_key) | {"content-length": str(len(content))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    host, port = s3.split(":")

    # What a node looks like to the server that loses power while it sends a pack.
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(f"PUT {path} HTTP/1.1\r\n{head}\r\n".encode() + content[: len(content) // 2])
    time.sleep(0.5)
    assert names(place) == []

    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(f"PUT {path} HTTP/1.1\r\n{head}\r\n".encode() + content)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert names(place) == ["packs/a"]


WRITER = """
import sys
from pathlib import Path
from swarmkeep.store.blob_limit import LimitedBlobStore
from swarmkeep.store.blob_object import ObjectBlobStore
from swarmkeep.store.object_client import ObjectClient, ObjectSettings
from swarmkeep.store.repository import Repository

endpoint, bucket, prefix, source = sys.argv[1:5]
client = ObjectClient(ObjectSettings(endpoint, bucket, *sys.argv[5:7], prefix=prefix))
blobs = LimitedBlobStore(ObjectBlobStore(client), 40 << 20)
Repository.open(blobs, create=True).put("default/redis.1", 1, Path(source), {})
"""
"""Stores a version, slowly."""


def test_a_writer_that_is_killed_leaves_garbage_and_nothing_that_looks_done(s3: str, tmp_path: Path) -> None:
    place = settings(s3, secrets.token_hex(8))
    source = fill(tmp_path / "source", 120)
    words = [place.endpoint, place.bucket, place.prefix, str(source), place.access_key, place.secret_key]
    writer = subprocess.Popen([sys.executable, "-c", WRITER, *words], env=os.environ | {"PYTHONPATH": str(OPERATOR)})
    try:
        deadline = time.monotonic() + 30
        while not names(place, "packs/") and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        writer.kill()
        writer.wait(10)
    assert writer.returncode == -signal.SIGKILL
    assert names(place, "packs/")

    repository = Repository.open(store(place), create=False)
    assert repository.versions("default/redis.1") == []
    # Now it might still be alive; hours later it cannot be.
    assert repository.sweep().blobs == 0
    assert repository.sweep(now=time.time() + 7 * 3600).blobs >= 2
    assert names(place) == ["swarmkeep-location"]

    repository.put("default/redis.1", 1, source, {})
    assert repository.verify("default/redis.1", 1) == ()


def test_a_put_whose_source_fails_sends_nothing(proxy: FaultyProxy, place: ObjectSettings) -> None:
    blobs = store(place)
    blobs.examine()
    proxy.requests.clear()

    with pytest.raises(ZeroDivisionError):
        blobs.put("packs/a", (bytes(10 // (3 - number)) for number in range(5)))

    assert proxy.requests == []


@pytest.mark.parametrize("fault", ["503", "hang", "lost", "cut"])
@pytest.mark.parametrize("at", range(8))
def test_looking_what_the_server_can_do_never_finds_too_much(
    proxy: FaultyProxy, place: ObjectSettings, fault: str, at: int
) -> None:
    proxy.ignores_conditions = proxy.ignores_offsets = True
    proxy.faults.extend([""] * at + [fault])
    blobs = patient(place)

    blobs.put("k", [b"first"])
    with pytest.raises(Conflict):
        blobs.put("k", [b"second"])

    assert blobs.get("k", 10) == b"first"
    assert blobs.read("k", 2, 3) == b"rst"


def test_what_the_server_lacks_is_said_once_it_was_looked_for(proxy: FaultyProxy, place: ObjectSettings) -> None:
    assert store(place).examine() == ()
    proxy.ignores_conditions = True
    assert [note.split(":")[0] for note in store(place).examine()] == ["the server ignores If-None-Match"]
    proxy.ignores_offsets = True
    assert len(store(place).examine()) == 2
    assert names(place) == []


def test_versions_are_whole_on_the_worst_of_servers(proxy: FaultyProxy, place: ObjectSettings, tmp_path: Path) -> None:
    proxy.ignores_conditions = proxy.ignores_offsets = True
    source = fill(tmp_path / "source", 6)
    repository = Repository.open(store(place), create=True)
    repository.put("default/redis.1", 1, source, {})
    assert repository.verify("default/redis.1", 1) == ()
    proxy.requests.clear()

    repository.get("default/redis.1", 1, tmp_path / "target")

    assert (tmp_path / "target/pages-1.img").read_bytes() == (source / "pages-1.img").read_bytes()
    # Whether the blob is still there is asked each time; its bytes come once.
    assert len(proxy.requests) < 12
    assert names(place, CLAIMS) == []


def test_with_keys_that_may_only_read_versions_are_restored(
    proxy: FaultyProxy, place: ObjectSettings, tmp_path: Path
) -> None:
    source = fill(tmp_path / "source")
    Repository.open(store(place), create=True).put("default/redis.1", 1, source, {})
    proxy.forbids_writing = True
    blobs = store(place)

    repository = Repository.open(blobs, create=False)
    repository.get("default/redis.1", 1, tmp_path / "target")

    assert (tmp_path / "target/pages-1.img").read_bytes() == (source / "pages-1.img").read_bytes()
    with pytest.raises(HostError, match="may not do that: 403 AccessDenied"):
        blobs.examine()
    with pytest.raises(HostError, match="AccessDenied"):
        repository.put("default/redis.1", 2, source, {})


def test_a_server_that_begins_to_answer_wrongly_is_caught_by_the_hashes(
    proxy: FaultyProxy, place: ObjectSettings, tmp_path: Path
) -> None:
    source = fill(tmp_path / "source")
    repository = Repository.open(store(place), create=True)
    repository.put("default/redis.1", 1, source, {})
    proxy.ignores_offsets = True

    with pytest.raises(CorruptData):
        repository.get("default/redis.1", 1, tmp_path / "target")

    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("weak", [False, True])
def test_all_nodes_that_meet_a_new_location_at_once_agree_on_its_identity(
    proxy: FaultyProxy, place: ObjectSettings, weak: bool
) -> None:
    proxy.ignores_conditions = weak
    found: list[str] = []

    def open_() -> None:
        found.append(Repository.open(store(place), create=True).location_id)

    threads = [threading.Thread(target=open_) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(found) == 4
    assert len(set(found)) == 1


def test_what_is_unfinished_goes_when_it_is_old_and_no_blob_with_it(place: ObjectSettings) -> None:
    client, blobs = ObjectClient(place), store(place)
    blobs.put("a", [b"x"])
    client.put(f"{PROBES}of-the-dead", b"", only_new=False)
    client.put(f"{CLAIMS}a/of-the-dead", b"", only_new=False)

    assert blobs.discard_unfinished(time.time() - 3600) == 0
    assert blobs.discard_unfinished(time.time() + 3600) == 2

    assert names(place) == ["a"]


def test_what_others_keep_beside_the_blobs_is_no_blob(place: ObjectSettings) -> None:
    client, blobs = ObjectClient(place), store(place)
    blobs.put("a/b", [b"x"])
    for name in (".hidden", "a/.hidden", "a/with space", "a/b+c"):
        client.put(name, b"foreign", only_new=False)

    assert [info.key for info in blobs.list("")] == ["a/b"]
    assert [info.key for info in blobs.list("a/")] == ["a/b"]


def test_a_pack_that_is_gone_is_missing_and_not_the_location(place: ObjectSettings, tmp_path: Path) -> None:
    repository = Repository.open(store(place), create=True)
    repository.put("default/redis.1", 1, fill(tmp_path / "source"), {})
    for name in names(place, "packs/"):
        ObjectClient(place).delete(name)

    with pytest.raises(MissingData):
        repository.get("default/redis.1", 1, tmp_path / "target")


def test_a_bucket_that_is_not_there_is_absent_for_every_call(s3: str) -> None:
    there = settings(s3)
    blobs: BlobStore = ObjectBlobStore(
        ObjectClient(ObjectSettings(there.endpoint, "nowhere", there.access_key, there.secret_key))
    )
    for call in (
        lambda: blobs.put("k", [b"x"]),
        lambda: blobs.get("k", 1),
        lambda: blobs.read("k", 0, 1),
        lambda: list(blobs.list("")),
        lambda: blobs.delete("k"),
    ):
        with pytest.raises(Absent, match="no such bucket"):
            call()


def test_wrong_keys_are_the_operators_matter(s3: str) -> None:
    there = settings(s3)
    blobs = ObjectBlobStore(ObjectClient(ObjectSettings(there.endpoint, there.bucket, there.access_key, "wrong")))
    for call in (lambda: blobs.put("k", [b"x"]), lambda: blobs.get("k", 1), lambda: list(blobs.list(""))):
        with pytest.raises(HostError, match="credentials may not do that: 403 SignatureDoesNotMatch"):
            call()


def test_large_blobs_go_in_one_request_each(proxy: FaultyProxy, place: ObjectSettings) -> None:
    place = settings(proxy.address, place.prefix)
    blobs, content = store(place), secrets.token_bytes(40 << 20)
    blobs.examine()
    proxy.requests.clear()

    blobs.put("packs/a", [memoryview(content)[: 20 << 20], memoryview(content)[20 << 20 :]])
    assert blobs.read("packs/a", 33 << 20, 4 << 20) == content[33 << 20 : 37 << 20]

    assert [line.split()[0] for line in proxy.requests] == ["PUT", "GET"]
    assert blobs.get("packs/a", 64 << 20) == content

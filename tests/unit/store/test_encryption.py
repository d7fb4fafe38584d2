"""What an encrypted location shows, what it refuses, and what a node without the right key may do: nothing."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from swarmkeep.errors import (
    CorruptData,
    DataError,
    MissingData,
    NewerFormat,
    NotAsEncrypted,
    NotFound,
    SwarmKeepError,
    Unavailable,
    WrongKey,
)
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.keyring import Keyring, LocationKey
from swarmkeep.store.repository import Repository

W = "default/redis.1"
MANIFEST = f"manifests/{W}/000000001"
KEY = LocationKey(bytes(range(32)), "/etc/one.key")
OTHER = LocationKey(bytes(range(1, 33)), "/etc/two.key")
SECRETS = {"container": {"Env": ["PASSWORD=correct horse battery staple"]}}


@pytest.fixture
def blobs() -> MemoryBlobStore:
    return MemoryBlobStore()


@pytest.fixture
def repository(blobs: MemoryBlobStore) -> Repository:
    return Repository.open(blobs, create=True, keyring=Keyring(KEY))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "pages-1.img").write_bytes(os.urandom(300 * 4096) + b"a secret in memory " * 1000)
    (folder / "name-that-tells").write_bytes(b"b")
    return folder


def keys(blobs: MemoryBlobStore, prefix: str) -> list[str]:
    return sorted(info.key for info in blobs.list(prefix))


def change(blobs: MemoryBlobStore, key: str, how: Callable[[bytes], bytes]) -> None:
    content = blobs.get(key, 1 << 30)
    blobs.delete(key)
    blobs.put(key, [how(content)])


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_nothing_that_is_stored_tells_anything_of_a_version(
    repository: Repository, blobs: MemoryBlobStore, source: Path
) -> None:
    repository.put(W, 1, source, SECRETS)
    repository.put(W, 2, source, SECRETS, parent=9)

    page = (source / "pages-1.img").read_bytes()[:4096]
    hashes = blake3(page).digest()[:16], blake3((source / "pages-1.img").read_bytes()[: 1 << 20]).digest()[:16]
    for key in keys(blobs, ""):
        content = blobs.get(key, 1 << 30)
        for tell in (b"secret", b"PASSWORD", b"horse", b"name-that-tells", page[:16], *hashes, KEY.secret[:8]):
            assert tell not in content
    # The same content under two data keys has nothing in common.
    first, second = (blobs.get(key, 1 << 30)[16:] for key in keys(blobs, "packs/"))
    assert len(first) == len(second)
    assert not {first[at : at + 16] for at in range(0, len(first), 16)} & {
        second[at : at + 16] for at in range(0, len(second), 16)
    }


def test_a_version_is_as_small_and_shares_as_much_as_in_a_plain_location(
    repository: Repository, source: Path, tmp_path: Path
) -> None:
    plain = Repository.open(MemoryBlobStore(), create=True)
    for version in (1, 2, 3):
        with (source / "pages-1.img").open("r+b") as file:
            file.seek(version * 7 * 4096)
            file.write(os.urandom(4096))
        put, plainly = (each.put(W, version, source, SECRETS) for each in (repository, plain))
        assert [(pack.frames, pack.pages) for pack in put.packs] == [
            (pack.frames, pack.pages) for pack in plainly.packs
        ]
        assert 0 < put.stored_bytes - plainly.stored_bytes < 400
    assert len({pack.data_key for pack in put.packs}) == len(put.packs) == 3
    assert put == repository.manifest(W, 3)
    repository.get(W, 2, tmp_path / "back")
    assert repository.verify(W, 2) == ()


def test_another_program_can_read_it_by_the_description(
    repository: Repository, blobs: MemoryBlobStore, source: Path
) -> None:
    repository.put(W, 1, source, SECRETS)

    stored = blobs.get(MANIFEST, 1 << 30)
    magic, format_version, zero, attempt, length = struct.unpack_from("<8sHH8sQ", stored)
    assert (magic, format_version, zero, length) == (b"SWKEEPMF", 2, 0, len(stored) - 28)
    key_id = HKDF(SHA256(), 8, None, b"swarmkeep key id").derive(KEY.secret).hex()
    envelope = blobs.get(f"keys/{W}/{attempt.hex()}-000001-{key_id}", 100)
    assert envelope[:12] == b"SWKEEPKY\1\0\0\0"
    wrapping_key = HKDF(SHA256(), 32, envelope[20:52], b"swarmkeep data key").derive(KEY.secret)
    data_key = AESGCM(wrapping_key).decrypt(
        struct.pack("<IQ", 4, 0), envelope[52:], envelope[:52] + f"{W}/{attempt.hex()}".encode()
    )
    manifest = AESGCM(data_key).decrypt(struct.pack("<IQ", 3, 0), stored[28:], stored[:28] + MANIFEST.encode())
    head = json.loads(zstandard.decompress(manifest[204 : 204 + struct.unpack_from("<I", manifest, 12)[0]]))
    assert head["facts"] == SECRETS
    (pack,) = head["packs"]
    content = blobs.get(f"packs/{W}/{pack['name']}", 1 << 30)
    bound = content[:16] + pack["name"].encode()
    assert content[:16] == b"SWKEEPPK\2" + bytes(7)
    cipher = AESGCM(bytes.fromhex(pack["dataKey"]))
    end = len(content) - 16 * pack["pages"] - 16
    table = cipher.decrypt(struct.pack("<IQ", 1, 0), content[end - 40 * pack["frames"] - 16 : end], bound)
    rows = np.frombuffer(table, np.dtype([("stored", "<u4"), ("pages", "<u4"), ("hash", "V32")]))
    position, pages = 16, b""
    for number, row in enumerate(rows):
        frame = content[position : position + row["stored"]]
        pages += zstandard.decompress(cipher.decrypt(struct.pack("<IQ", 0, number), frame, bound))
        position += int(row["stored"])
    assert (source / "pages-1.img").read_bytes() in pages


class TestKeys:
    def test_a_node_without_the_key_refuses_and_writes_nothing(
        self, repository: Repository, blobs: MemoryBlobStore, source: Path
    ) -> None:
        repository.put(W, 1, source, {})
        before = keys(blobs, "")

        with pytest.raises(NotAsEncrypted, match="is encrypted, and no key is given"):
            Repository.open(blobs, create=True)
        keyless = Repository(blobs, repository.location_id)
        for call in (lambda: keyless.put(W, 2, source, {}), lambda: keyless.delete(W, 1), keyless.sweep, keyless.check):
            with pytest.raises(NotAsEncrypted):
                call()

        assert keys(blobs, "") == before

    def test_a_plain_location_is_not_made_a_mixed_one(self, blobs: MemoryBlobStore, source: Path) -> None:
        plain = Repository.open(blobs, create=True)
        plain.put(W, 1, source, {})

        with pytest.raises(NotAsEncrypted, match="first used without encryption"):
            Repository.open(blobs, create=True, keyring=Keyring(KEY))
        with pytest.raises(NotAsEncrypted):
            Repository(blobs, plain.location_id, Keyring(KEY)).put(W, 2, source, {})

        assert plain.versions(W) == [1]
        assert keys(blobs, "location-keys/") == []

    def test_a_node_with_another_key_refuses_and_says_which_is_the_right_one(
        self, repository: Repository, blobs: MemoryBlobStore
    ) -> None:
        with pytest.raises(WrongKey, match=rf"encrypted with key {KEY.id}.*{OTHER.id} \(/etc/two.key\)"):
            Repository.open(blobs, create=True, keyring=Keyring(OTHER))

        assert keys(blobs, "location-keys/") == ["location-keys/000001"]

    def test_of_two_nodes_with_different_keys_only_the_first_gets_in(self) -> None:
        inner = MemoryBlobStore()

        class Overtaken(MemoryBlobStore):
            def __init__(self) -> None:
                self.__dict__ = inner.__dict__

            def put(self, key: str, chunks: Any) -> int:
                if key == "location-keys/000001":
                    Repository.open(inner, create=True, keyring=Keyring(KEY))
                return super().put(key, chunks)

        with pytest.raises(WrongKey):
            Repository.open(Overtaken(), create=True, keyring=Keyring(OTHER))
        Repository.open(inner, create=False, keyring=Keyring(KEY))

    def test_a_new_key_comes_in_with_an_old_one(self, repository: Repository, blobs: MemoryBlobStore) -> None:
        third = LocationKey(bytes(range(2, 34)))
        for ring in (Keyring(OTHER, [KEY]), Keyring(OTHER), Keyring(third, [OTHER]), Keyring(KEY), Keyring(third)):
            Repository.open(blobs, create=True, keyring=ring)

        assert keys(blobs, "location-keys/") == [f"location-keys/00000{number}" for number in (1, 2, 3)]

    def test_storage_that_never_takes_a_key_is_given_up(self) -> None:
        class Forgetful(MemoryBlobStore):
            def put(self, key: str, chunks: Any) -> int:
                return 0 if key.startswith("location-keys/") else super().put(key, chunks)

        with pytest.raises(Unavailable, match="again and again"):
            Repository.open(Forgetful(), create=True, keyring=Keyring(KEY))

    def test_a_list_of_keys_that_was_overwritten_is_said(self, repository: Repository, blobs: MemoryBlobStore) -> None:
        blobs.put("location-keys/notes.txt", [b"a user's own"])
        Repository.open(blobs, create=False, keyring=Keyring(KEY))
        change(blobs, "location-keys/000001", lambda content: content[:-2])

        with pytest.raises(CorruptData, match="location-keys/000001 was overwritten"):
            Repository.open(blobs, create=False, keyring=Keyring(KEY))

    def test_a_version_of_a_key_that_this_node_lacks_says_so_and_is_not_damaged(
        self, repository: Repository, blobs: MemoryBlobStore, source: Path, tmp_path: Path
    ) -> None:
        repository.put(W, 1, source, {})
        newer = Repository.open(blobs, create=False, keyring=Keyring(OTHER, [KEY]))
        newer.put(W, 2, source, {})

        for call in (
            lambda: repository.manifest(W, 2),
            lambda: repository.get(W, 2, tmp_path / "back"),
            lambda: repository.verify(W, 2),
        ):
            with pytest.raises(WrongKey, match=rf"with key {OTHER.id}, and this node has only {KEY.id}.*keyFile"):
                call()
        assert not (tmp_path / "back").exists()
        # It can go on writing, though it has nothing to build on; and it removes nothing that it cannot judge.
        assert repository.put(W, 3, source, {}).new_bytes > 1_200_000
        repository.delete(W, 1)
        repository.sweep(now=1e12)
        assert newer.verify(W, 2) == newer.verify(W, 3) == ()

    def test_a_version_can_be_deleted_without_its_key(
        self, repository: Repository, blobs: MemoryBlobStore, source: Path
    ) -> None:
        Repository.open(blobs, create=False, keyring=Keyring(OTHER, [KEY])).put(W, 1, source, {})

        repository.delete(W, 1)
        repository.sweep(now=1e12)

        assert keys(blobs, "packs/") == keys(blobs, "keys/") == keys(blobs, "manifests/") == []


class TestDamage:
    @pytest.fixture
    def whole(self, repository: Repository, blobs: MemoryBlobStore, source: Path) -> dict[str, bytes]:
        repository.put(W, 1, source, SECRETS)
        return {key: blobs.get(key, 1 << 30) for key in keys(blobs, "")}

    def test_a_flipped_bit_anywhere_is_found_before_a_byte_is_restored(
        self, repository: Repository, blobs: MemoryBlobStore, whole: dict[str, bytes], tmp_path: Path
    ) -> None:
        for key in (*keys(blobs, "manifests/"), *keys(blobs, "packs/"), *keys(blobs, "keys/")):
            bits = len(whole[key]) * 8
            # The end of a pack, its page hashes, is of no use to a reader.
            end = bits - 400 if key.startswith("packs/") else bits
            for bit in {*range(0, min(bits, 400), 3), *range(bits - 400, end, 7), bits // 2, bits // 3}:
                change(blobs, key, lambda _, key=key, bit=bit: flipped(whole[key], bit))  # type: ignore[misc]
                # A format may become one that only a newer SwarmKeep writes, an attempt one that has no data key.
                with pytest.raises(DataError):
                    repository.get(W, 1, tmp_path / "back")
                assert not (tmp_path / "back").exists()
            change(blobs, key, lambda _, key=key: whole[key])  # type: ignore[misc]
        repository.get(W, 1, tmp_path / "back")

    @pytest.mark.parametrize(
        ("prefix", "how", "error", "words"),
        [
            ("packs/", lambda c: c[:9000], CorruptData, "cut short"),
            ("packs/", None, MissingData, "is gone"),
            ("packs/", lambda c: c[:8] + b"\3" + c[9:], NewerFormat, "format 3"),
            ("packs/", lambda c: c[:8] + b"\1" + c[9:], CorruptData, "does not begin"),
            ("packs/", lambda c: c[:9000] + bytes([c[9000] ^ 1]) + c[9001:], CorruptData, "frame 0 was changed"),
            ("keys/", None, MissingData, "data key .* is gone .*decrypt"),
            ("keys/", lambda c: c[:-1], CorruptData, "data key .* cut short"),
            ("keys/", lambda c: c + b"x", CorruptData, "more than"),
            ("keys/", lambda c: c[:8] + b"\2" + c[9:], NewerFormat, "data key .* newer"),
            ("keys/", lambda c: flipped(c, 799), CorruptData, "data key .* cannot be decrypted"),
            ("manifests/", None, NotFound, "no default/redis.1 version 1"),
            ("manifests/", lambda c: c[:20], CorruptData, "cut short"),
            ("manifests/", lambda c: c[:-1], CorruptData, "cut short"),
            ("manifests/", lambda c: c + b"x", CorruptData, "where it says"),
            ("manifests/", lambda c: b"x" + c[1:], CorruptData, "overwritten"),
            ("manifests/", lambda c: c[:8] + b"\3" + c[9:], NewerFormat, "upgrade this node"),
            ("manifests/", lambda c: c[:10] + b"\1" + c[11:], CorruptData, "damaged header"),
            ("manifests/", lambda c: flipped(c, 8 * 300), CorruptData, "cannot be decrypted"),
        ],
    )
    def test_each_kind_of_damage_is_said(
        self,
        repository: Repository,
        blobs: MemoryBlobStore,
        whole: dict[str, bytes],
        tmp_path: Path,
        prefix: str,
        how: Callable[[bytes], bytes] | None,
        error: type[SwarmKeepError],
        words: str,
    ) -> None:
        (key,) = keys(blobs, prefix)
        blobs.delete(key)
        if how is not None:
            blobs.put(key, [how(whole[key])])

        with pytest.raises(error, match=words):
            repository.get(W, 1, tmp_path / "back")
        assert not (tmp_path / "back").exists()

    def test_what_lies_open_is_not_taken_in_an_encrypted_location(
        self, repository: Repository, blobs: MemoryBlobStore, source: Path, whole: dict[str, bytes]
    ) -> None:
        elsewhere = MemoryBlobStore()
        Repository.open(elsewhere, create=True).put(W, 1, source, {"forged": True})
        for key in keys(elsewhere, "packs/"):
            blobs.put(key, [elsewhere.get(key, 1 << 30)])
        change(blobs, MANIFEST, lambda _: elsewhere.get(MANIFEST, 1 << 30))

        with pytest.raises(CorruptData, match="is not encrypted, and this location is"):
            repository.manifest(W, 1)

    def test_what_is_encrypted_is_not_taken_in_a_plain_location(self, whole: dict[str, bytes]) -> None:
        plain = MemoryBlobStore()
        repository = Repository.open(plain, create=True)
        plain.put(MANIFEST, [whole[MANIFEST]])

        with pytest.raises(CorruptData, match="is encrypted, and this location is not"):
            repository.manifest(W, 1)

    def test_blobs_that_change_places_are_found(
        self, repository: Repository, blobs: MemoryBlobStore, source: Path, tmp_path: Path
    ) -> None:
        for version in (1, 2):
            (source / "name-that-tells").write_bytes(bytes([version]))
            repository.put(W, version, source, {}, parent=9)
        for prefix in ("manifests/", "packs/", "keys/"):
            one, two = keys(blobs, prefix)
            contents = blobs.get(one, 1 << 30), blobs.get(two, 1 << 30)
            for key, content in ((one, contents[1]), (two, contents[0])):
                change(blobs, key, lambda _, content=content: content)  # type: ignore[misc]
            for version in (1, 2):
                with pytest.raises(CorruptData):
                    repository.get(W, version, tmp_path / "back")
            for key, content in ((one, contents[0]), (two, contents[1])):
                change(blobs, key, lambda _, content=content: content)  # type: ignore[misc]
        assert repository.verify(W, 1) == repository.verify(W, 2) == ()

    def test_a_version_whose_key_is_gone_keeps_what_others_may_need(
        self, repository: Repository, blobs: MemoryBlobStore, source: Path, whole: dict[str, bytes]
    ) -> None:
        repository.put(W, 2, source, {})
        (gone,) = set(keys(blobs, "keys/")) - whole.keys()
        blobs.delete(gone)

        repository.delete(W, 1)
        repository.sweep(now=1e12)

        with pytest.raises(DataError):
            repository.manifest(W, 2)
        assert len(keys(blobs, "packs/")) == 1
        repository.delete(W, 2)
        repository.sweep(now=1e12)
        assert keys(blobs, "") == ["location-keys/000001", "swarmkeep-location"]


def test_a_reader_that_is_overtaken_by_a_delete_finds_no_version(
    repository: Repository, blobs: MemoryBlobStore, source: Path
) -> None:
    repository.put(W, 1, source, {})

    class Overtaken(MemoryBlobStore):
        def __init__(self) -> None:
            self.__dict__ = blobs.__dict__

        def get(self, key: str, max_bytes: int) -> bytes:
            content = super().get(key, max_bytes)
            if key.startswith("manifests/"):
                repository.delete(W, 1)
            return content

    with pytest.raises(NotFound, match=r"no default/redis\.1 version 1"):
        Repository(Overtaken(), repository.location_id, repository.keyring).manifest(W, 1)


def test_a_folder_on_disk_is_encrypted_like_any_other(tmp_path: Path, source: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    repository = Repository.open(LocalBlobStore(store), create=True, keyring=Keyring(KEY))
    repository.put(W, 1, source, {})

    repository.get(W, 1, tmp_path / "back")

    assert (tmp_path / "back/pages-1.img").read_bytes() == (source / "pages-1.img").read_bytes()
    assert (store / "swarmkeep-location").read_bytes().startswith(b"swarmkeep-location 2 ")

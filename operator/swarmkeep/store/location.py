"""The mark that tells a storage location from an empty folder where it should be mounted.

It is one blob, `swarmkeep-location`, written when the location is first used, with the identity that the location then
has for ever. Without it nothing is written: most often a missing mount is the reason. It says as well whether the
location is encrypted, and that never changes either: no version in an encrypted one lies open, and no node without the
key, or with a key that is new to all others, writes into it.
"""

from __future__ import annotations

import re
import uuid
from contextlib import suppress
from dataclasses import dataclass

from swarmkeep.errors import (
    Conflict,
    CorruptData,
    NewerFormat,
    NotAsEncrypted,
    NotFound,
    Unavailable,
    WrongKey,
)
from swarmkeep.store.blob import BlobStore
from swarmkeep.store.keyring import Keyring

MARK_KEY = "swarmkeep-location"
KEY_LIST_PREFIX = "location-keys/"

_PLAIN_FORMAT = 1
_ENCRYPTED_FORMAT = 2
_MAX_BYTES = 200
_JOIN_TRIES = 20
_MARK = re.compile(rb"swarmkeep-location ([0-9]{1,6}) ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\n")
_LISTED = re.compile(rf"{KEY_LIST_PREFIX}([0-9]{{6}})", re.ASCII)
_KEY_ID = re.compile(rb"swarmkeep-key ([0-9a-f]{16})\n")


@dataclass(frozen=True, slots=True)
class Mark:
    """What the mark says."""

    id: str
    encrypted: bool


def read_mark(blobs: BlobStore) -> Mark:
    """The mark of the location.

    Raises Unavailable when there is none here, CorruptData, NewerFormat.
    """
    try:
        content = blobs.get(MARK_KEY, _MAX_BYTES)
    except NotFound:
        raise Unavailable(
            f"{blobs.description} is no location of SwarmKeep, or not the right one now (no {MARK_KEY} in it): "
            "is it mounted?"
        ) from None
    found = _MARK.fullmatch(content)
    if found is None:
        raise CorruptData(
            f"{blobs.description}: {MARK_KEY} was overwritten; put back `swarmkeep-location 1 ID` (2 if encrypted)"
        )
    if int(found[1]) not in (_PLAIN_FORMAT, _ENCRYPTED_FORMAT):
        raise NewerFormat(
            f"{blobs.description} has format {int(found[1])}; this SwarmKeep reads up to {_ENCRYPTED_FORMAT}: "
            "upgrade this node"
        )
    return Mark(found[2].decode(), int(found[1]) == _ENCRYPTED_FORMAT)


def ensure_mark(blobs: BlobStore, *, encrypted: bool) -> Mark:
    """The mark of the location, made now if it has never been used.

    Raises CorruptData when versions are in it but no mark: somebody removed it.
    """
    try:
        return read_mark(blobs)
    except Unavailable:
        # Storage that does not answer raises again right here.
        if next(blobs.list("manifests/"), None) is not None:
            raise CorruptData(
                f"{blobs.description} holds versions but no {MARK_KEY}; put back `swarmkeep-location 1 ID` "
                "(2 if encrypted)"
            ) from None
    # Another node may be faster: then the location has the identity that it gave.
    with suppress(Conflict):
        format_version = _ENCRYPTED_FORMAT if encrypted else _PLAIN_FORMAT
        blobs.put(MARK_KEY, [f"swarmkeep-location {format_version} {uuid.uuid4()}\n".encode()])
    return read_mark(blobs)


def check_encryption(blobs: BlobStore, mark: Mark, keyring: Keyring | None) -> None:
    """Raises NotAsEncrypted unless the location is encrypted exactly when there are keys for it."""
    if mark.encrypted and keyring is None:
        raise NotAsEncrypted(
            f"{blobs.description} is encrypted, and no key is given for it: name its key file in "
            "spec.encryption.keyFile of the StorageLocation"
        )
    if keyring is not None and not mark.encrypted:
        raise NotAsEncrypted(
            f"{blobs.description} was first used without encryption and stays so: take spec.encryption out of the "
            "StorageLocation again, and make a new one, encrypted from the start, for the versions to come"
        )


def join_keys(blobs: BlobStore, keyring: Keyring) -> None:
    """Makes sure that the current key is one of the location's; a new one only along with one that already is.

    So a node that was given another key file by mistake writes nothing that only it can read. Raises WrongKey,
    CorruptData, Unavailable, StorageFull, HostError.
    """
    for _ in range(_JOIN_TRIES):
        known = _listed_keys(blobs)
        if keyring.current.id in known.values():
            return
        if known and keyring.ids.isdisjoint(known.values()):
            raise WrongKey(
                f"{blobs.description} is encrypted with key {known[max(known)]}, and this node has {keyring}: "
                "put the right key file there, or, for a new key, name the old one in previousKeyFiles"
            )
        # Another node may be faster, with the same key or another one: then look again.
        with suppress(Conflict):
            number = max(known, default=0) + 1
            blobs.put(f"{KEY_LIST_PREFIX}{number:06}", [f"swarmkeep-key {keyring.current.id}\n".encode()])
    raise Unavailable(f"{blobs.description}: the list of its keys changes again and again: try again")


def _listed_keys(blobs: BlobStore) -> dict[int, str]:
    """The ids of the keys that the location has had, by their numbers from 1."""
    keys = {}
    for info in blobs.list(KEY_LIST_PREFIX):
        number = _LISTED.fullmatch(info.key)
        if number is None:
            continue
        found = _KEY_ID.fullmatch(blobs.get(info.key, _MAX_BYTES))
        if found is None:
            raise CorruptData(f"{blobs.description}: {info.key} was overwritten; put back `swarmkeep-key KEY-ID`")
        keys[int(number[1])] = found[1].decode()
    return keys

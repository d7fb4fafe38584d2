"""Makes blob stores out of the specs of StorageLocations. What they name beside themselves are files on this node."""

from __future__ import annotations

import configparser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmkeep.errors import HostError, InvalidObject, Unavailable
from swarmkeep.model.quantity import parse_quantity
from swarmkeep.store.blob import BlobStore
from swarmkeep.store.blob_limit import LimitedBlobStore
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.blob_object import ObjectBlobStore
from swarmkeep.store.blob_retry import RetryingBlobStore
from swarmkeep.store.object_client import ObjectClient, ObjectSettings

LOWEST_LIMIT = 64 << 10
"""Bytes per second. With less, not even a small version would be stored before its time is up."""
_MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Storage:
    """The storage of one location."""

    direct: BlobStore
    """Answers at once, be it that nobody is there: for whoever asks whether it works."""
    blobs: BlobStore
    """The same for work: keeps to the bandwidth limit, does not give up at once."""
    examine: Callable[[], tuple[str, ...]]
    """What is worse here than it could be, each a sentence for the user. Raises Unavailable, HostError."""


def open_storage(spec: Mapping[str, Any]) -> Storage:
    """The storage that a StorageLocation's spec speaks of.

    Raises Unavailable (no such folder on this node), HostError (a file that the spec names cannot be used),
    InvalidObject (not exactly one kind of storage, a limit that is too low).
    """
    kinds = [kind for kind in ("filesystem", "s3") if spec.get(kind) is not None]
    if len(kinds) != 1:
        raise InvalidObject("a StorageLocation needs exactly one of spec.filesystem and spec.s3")
    if kinds == ["filesystem"]:
        folder = _open_folder(spec["filesystem"])
        return Storage(folder, _limited(folder, spec), tuple)
    bucket = ObjectBlobStore(ObjectClient(object_settings(spec["s3"])))
    return Storage(bucket, RetryingBlobStore(_limited(bucket, spec)), bucket.examine)


def object_settings(s3: Mapping[str, Any]) -> ObjectSettings:
    """The settings that `spec.s3` and the files that it names make together. Raises HostError."""
    path, profile = Path(s3["credentialsFile"]), s3.get("profile") or "default"
    keys = read_credentials(path, profile)
    return ObjectSettings(
        endpoint=s3["endpoint"].rstrip("/"),
        bucket=s3["bucket"],
        access_key=keys["aws_access_key_id"],
        secret_key=keys["aws_secret_access_key"],
        session_token=keys.get("aws_session_token"),
        region=s3.get("region") or "us-east-1",
        prefix=s3.get("prefix") or "",
        ca=_read(Path(s3["caFile"]), "spec.s3.caFile") if s3.get("caFile") else None,
    )


def read_credentials(path: Path, profile: str) -> Mapping[str, str]:
    """One profile of a file as the AWS tools keep it. Raises HostError, which never repeats what the file says."""
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        parser.read_string(_read(path, "spec.s3.credentialsFile").decode())
    except (configparser.Error, UnicodeDecodeError):
        raise HostError(f"{path} is no credentials file: write [default], aws_access_key_id = ... below it") from None
    if not parser.has_section(profile):
        raise HostError(f"{path} has no profile [{profile}]")
    keys = {name: value for name, value in parser[profile].items() if value}
    for name in ("aws_access_key_id", "aws_secret_access_key"):
        if name not in keys:
            raise HostError(f"{path} has no {name} below [{profile}]")
    return keys


def _open_folder(filesystem: Mapping[str, Any]) -> LocalBlobStore:
    folder = Path(filesystem["path"])
    if not folder.is_dir():
        raise Unavailable(f"{folder} is no folder on this node; create it or mount it there")
    return LocalBlobStore(folder)


def _limited(blobs: BlobStore, spec: Mapping[str, Any]) -> BlobStore:
    if spec.get("bandwidthLimit") is None:
        return blobs
    limit = parse_quantity(spec["bandwidthLimit"])
    if limit < LOWEST_LIMIT:
        raise InvalidObject(f"spec.bandwidthLimit is {limit} bytes per second, the least is {LOWEST_LIMIT}")
    return LimitedBlobStore(blobs, limit)


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise HostError(f"{what} cannot be read on this node: {error}") from None

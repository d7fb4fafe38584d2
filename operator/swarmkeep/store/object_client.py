"""Single requests to an object store that speaks S3, with limits in time and errors in the words of the error tree.

The only module that knows the library, obstore. It repeats nothing by itself: blob_retry does, where that is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from swarmkeep.errors import (
    Conflict,
    CorruptData,
    HostError,
    InvalidObject,
    NotFound,
    StorageFull,
    SwarmKeepError,
    Unavailable,
)
from swarmkeep.store.blob import Absent, BlobInfo, check_range

Content = bytes | bytearray

CONNECT_LIMIT_S = 3.0
SLOWEST_BYTES_PER_S = 256 << 10
"""A transfer that is slower than this counts as one that stands still."""
_TIERS = (1 << 20, 8 << 20, 64 << 20, 1 << 30, 5 << 30)
"""Requests are sorted by how many bytes they may move; a single PUT of S3 takes 5 GiB at most."""

_STATUS = re.compile(r"status code: ([0-9]{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,300})</Message>")
_CAUSE = re.compile(r'(?:message|error): "([^"\n]{1,200})"')
_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientCapacity"})
_PASSING = frozenset({"RequestTimeout", "ConditionalRequestConflict", "OperationAborted", "SlowDown"})
"""What a server answers with a 4xx though the same request may succeed in a moment."""


@dataclass(frozen=True, slots=True)
class ObjectSettings:
    """A bucket, and how to reach it."""

    endpoint: str
    """`https://HOST[:PORT]`, or `http://` without encryption on the way."""
    bucket: str
    access_key: str
    secret_key: str
    session_token: str | None = None
    region: str = "us-east-1"
    prefix: str = ""
    """Everything is stored below it: segments, without a slash at either end; empty for the whole bucket."""
    ca: bytes | None = None
    """Certificates (PEM) to be trusted beside the system's."""
    answer_limit_s: float = 10.0
    """The longest that a request for up to a MiB may take; more bytes get more time, SLOWEST_BYTES_PER_S."""

    @property
    def description(self) -> str:
        """Where this is, for error messages."""
        path = f"{self.bucket}/{self.prefix}".rstrip("/")
        return f"bucket {path} at {urlsplit(self.endpoint).netloc}"


class ObjectClient:
    """Requests for the objects below the prefix. A name is what follows the prefix; it may have hidden segments."""

    def __init__(self, settings: ObjectSettings) -> None:
        self._settings = settings
        self._below = f"{settings.prefix}/" if settings.prefix else ""
        self.description = settings.description
        # One for each tier: the library's limit holds for a connected store, not for a request.
        self._stores: dict[int, S3Store] = {}
        self._tier(0)

    def put(self, name: str, content: Content, *, only_new: bool) -> None:
        """Stores an object by one request: whole or not at all.

        With `only_new` the server is asked to refuse a name that is taken (Conflict); not every server does as asked.
        """
        if len(content) > _TIERS[-1]:
            raise InvalidObject(f"{self.description}: {name} has {len(content)} bytes, more than one request may carry")
        with self._errors(name, len(content)) as store:
            obstore.put(
                store, self._below + name, content, mode="create" if only_new else "overwrite", use_multipart=False
            )

    def get(self, name: str, max_bytes: int) -> bytes:
        """A whole object. Raises NotFound, CorruptData when it is longer than `max_bytes`."""
        expected = 0
        while True:
            with self._errors(name, expected) as store:
                result = obstore.get(store, self._below + name)
                size = result.meta["size"]
                if size > max_bytes:
                    raise CorruptData(
                        f"{self.description}: {name} has {size} bytes, more than the {max_bytes} that it may"
                    )
                if size <= max(expected, _TIERS[0]):
                    return self._exactly(name, bytes(result.bytes()), size)
            # It is large, so its bytes may take longer than was allowed for.
            expected = size

    def size(self, name: str) -> int:
        """The size of an object. Raises NotFound.

        A GET whose content is not read: the answer to a HEAD does not tell a missing object from a missing bucket.
        """
        with self._errors(name, 0) as store:
            return obstore.get(store, self._below + name).meta["size"]

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes (at least one) from `offset`. Raises NotFound, CorruptData when it ends before."""
        try:
            with self._errors(name, length) as store:
                result = obstore.get(store, self._below + name, options={"range": (offset, offset + length)})
                check_range(name, offset, length, result.meta["size"], self.description)
                return self._exactly(name, bytes(result.bytes()), length)
        except _BeyondEnd:
            check_range(name, offset, length, self.size(name), self.description)
            raise Unavailable(f"{self.description} contradicts itself about the length of {name}") from None

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Every object whose name begins with `prefix`, empty or ending in a slash. BlobInfo.key is the name."""
        with self._errors(prefix, 0) as store:
            for objects in obstore.list(store, (self._below + prefix) or None):
                for found in objects:
                    yield BlobInfo(
                        found["path"].removeprefix(self._below), found["size"], found["last_modified"].timestamp()
                    )

    def delete(self, name: str) -> None:
        """Removes an object; one that is not there is no error."""
        try:
            with self._errors(name, 0) as store:
                obstore.delete(store, self._below + name)
        except NotFound:
            return

    def _tier(self, bytes_: int) -> tuple[float, S3Store]:
        """Limit in seconds, and the store that has it, for a request that moves so many bytes."""
        most = next((most for most in _TIERS if bytes_ <= most), _TIERS[-1])
        limit_s = self._settings.answer_limit_s + (most - _TIERS[0]) / SLOWEST_BYTES_PER_S
        if most not in self._stores:
            self._stores[most] = self._connect(limit_s)
        return limit_s, self._stores[most]

    def _connect(self, limit_s: float) -> S3Store:
        settings = self._settings
        try:
            return S3Store(
                settings.bucket,
                config={
                    "endpoint": settings.endpoint,
                    "region": settings.region,
                    "access_key_id": settings.access_key,
                    "secret_access_key": settings.secret_key,
                    "disable_bulk_delete": True,
                    **({"session_token": settings.session_token} if settings.session_token else {}),
                },
                client_options={
                    "allow_http": settings.endpoint.startswith("http://"),
                    "connect_timeout": timedelta(seconds=CONNECT_LIMIT_S),
                    "timeout": timedelta(seconds=limit_s),
                    **({"root_certificate": settings.ca} if settings.ca else {}),
                },
                retry_config={"max_retries": 0},
            )
        except (BaseError, OSError, ValueError) as error:
            raise HostError(f"{self.description}: cannot be used with these settings: {_first_line(error)}") from error

    @contextmanager
    def _errors(self, name: str, bytes_: int) -> Iterator[S3Store]:
        """Gives the client whose limit fits; turns the library's errors into ours."""
        limit_s, store = self._tier(bytes_)
        try:
            yield store
        except (BaseError, OSError, ValueError) as error:
            raise self._error(error, name, limit_s) from error

    def _error(self, error: Exception, name: str, limit_s: float) -> SwarmKeepError:
        text = str(error)
        found = _STATUS.search(text)
        if found is None:
            return self._without_answer(text, limit_s)
        status = int(found[1])
        code = _CODE.search(text)
        word = code[1] if code else ""
        said = _MESSAGE.search(text)
        answer = f"{status} {word}".strip() + (f" ({said[1]})" if said else "")
        where = self.description
        if word == "NoSuchKey":
            return NotFound(f"{where}: {name} is not there")
        if word == "NoSuchBucket":
            return Absent(f"{where}: there is no such bucket; create it, or name another in the StorageLocation")
        if word in _FULL or status == 507:
            return StorageFull(f"{where}: no space left for another version: {answer}; free some or raise the quota")
        if status == 501:
            return Unsupported(f"{where} answers {answer}")
        if word in _PASSING or status in (408, 425, 429) or status >= 500:
            return Unavailable(f"{where} answers {answer}")
        if isinstance(error, AlreadyExistsError):
            return Conflict(f"{where}: {name} exists already")
        if status == 416:
            return _BeyondEnd(f"{where}: {answer}")
        if status == 404:
            # A proxy, or another program: not finding a version there says nothing about it.
            return Unavailable(f"{where} answers {status} as no server of S3 does; is the endpoint right?")
        if status in (401, 403):
            return HostError(f"{where}: this node's credentials may not do that: {answer}")
        return HostError(f"{where}: refuses the request for {name or 'a listing'}: {answer}")

    def _without_answer(self, text: str, limit_s: float) -> SwarmKeepError:
        where = self.description
        if "TimedOut" in text:
            return Unavailable(f"{where} has not answered within {limit_s:g} s")
        if "redirect" in text:
            return HostError(f"{where}: the server sends this node elsewhere; is the region right?")
        if "body error" in text:
            return Unavailable(f"{where}: the connection broke in the middle of an answer")
        if "peer certificate" in text or "UnknownIssuer" in text:
            return Unavailable(f"{where}: its certificate is not trusted on this node; name its CA in spec.s3.caFile")
        cause = _CAUSE.search(text)
        return Unavailable(f"{where}: {cause[1] if cause else _first_line(text)}")

    def _exactly(self, name: str, content: bytes, length: int) -> bytes:
        if len(content) != length:
            raise Unavailable(f"{self.description}: {len(content)} bytes of {name} came where {length} were announced")
        return content


class Unsupported(HostError):
    """The server does not know this kind of request."""


class _BeyondEnd(CorruptData):
    """The server says that the range begins after the end."""


def _first_line(error: object) -> str:
    return str(error).partition("\n")[0][:300]

"""Which blob has which key. Pure; docs/formats lists them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from swarmkeep.errors import InvalidObject

MAX_VERSION = 999_999_999

_PART = r"[a-z0-9](?:[-a-z0-9.]{0,198}[a-z0-9])?"
_WORKLOAD = re.compile(f"{_PART}/{_PART}", re.ASCII)
_MANIFEST = re.compile(f"manifests/(?P<workload>{_PART}/{_PART})/(?P<version>[0-9]{{9}})", re.ASCII)
_ATTEMPT = re.compile(r"[0-9a-f]{16}", re.ASCII)
_PACK_NAME = re.compile(r"[0-9a-f]{16}-[0-9]{6}", re.ASCII)
_PACK = re.compile(f"packs/(?P<workload>{_PART}/{_PART})/(?P<name>{_PACK_NAME.pattern})", re.ASCII)
_KEY_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)
_ENVELOPE = re.compile(
    f"keys/(?P<workload>{_PART}/{_PART})/(?P<attempt>{_ATTEMPT.pattern})-(?P<generation>[0-9]{{6}})"
    f"-(?P<key_id>{_KEY_ID.pattern})",
    re.ASCII,
)
_WRITER = re.compile(f"writers/(?P<workload>{_PART}/{_PART})/(?P<attempt>{_ATTEMPT.pattern})", re.ASCII)


@dataclass(frozen=True, slots=True)
class VersionKey:
    """A version's address in storage."""

    workload: str
    """`namespace/name`, each like the name of a Kubernetes object."""
    version: int
    """1 or more."""

    def __post_init__(self) -> None:
        check_workload(self.workload)
        if not 1 <= self.version <= MAX_VERSION:
            raise InvalidObject(f"{self.version} is no version number: they go from 1 to {MAX_VERSION}")

    def __str__(self) -> str:
        return f"{self.workload} version {self.version}"

    @property
    def manifest(self) -> str:
        """The key of the manifest."""
        return f"manifests/{self.workload}/{self.version:09}"


@dataclass(frozen=True, slots=True, order=True)
class EnvelopeKey:
    """The address of an envelope: the data key of an attempt, wrapped by a key of the location."""

    workload: str
    attempt: str
    generation: int
    """From 1; a later one was made out of an earlier one, and makes that superfluous."""
    key_id: str
    """Which key of the location wraps it."""

    def __str__(self) -> str:
        return f"{envelopes_prefix(self.workload)}{check_attempt(self.attempt)}-{self.generation:06}-{self.key_id}"


def check_workload(workload: str) -> str:
    """Returns `workload` if it may be one; raises InvalidObject."""
    if not _WORKLOAD.fullmatch(workload):
        raise InvalidObject(f"{workload[:200]!r} is no workload: it has to be namespace/name, in lower case")
    return workload


def check_attempt(attempt: str) -> str:
    """Returns `attempt` if it is 16 hexadecimal digits; raises InvalidObject."""
    if not _ATTEMPT.fullmatch(attempt):
        raise InvalidObject(f"{attempt!r} is no name of an attempt")
    return attempt


def check_pack_name(name: str) -> str:
    """Returns `name` if a pack may have it; raises InvalidObject."""
    if not _PACK_NAME.fullmatch(name):
        raise InvalidObject(f"{name!r} is no name of a pack")
    return name


def pack_name(attempt: str, number: int) -> str:
    """The name of the pack that an attempt writes as its `number`th, from 0."""
    return check_pack_name(f"{check_attempt(attempt)}-{number:06}")


def pack_key(workload: str, name: str) -> str:
    """The key of a pack."""
    return f"{packs_prefix(workload)}{check_pack_name(name)}"


def writer_key(workload: str, attempt: str) -> str:
    """The key of the mark that an attempt leaves while it writes."""
    return f"{writers_prefix(workload)}{check_attempt(attempt)}"


def manifests_prefix(workload: str | None = None) -> str:
    """Where the manifests of one workload, or of all, lie."""
    return f"manifests/{check_workload(workload)}/" if workload else "manifests/"


def packs_prefix(workload: str | None = None) -> str:
    """Where the packs of one workload, or of all, lie."""
    return f"packs/{check_workload(workload)}/" if workload else "packs/"


def envelopes_prefix(workload: str | None = None) -> str:
    """Where the envelopes of one workload, or of all, lie."""
    return f"keys/{check_workload(workload)}/" if workload else "keys/"


def writers_prefix(workload: str | None = None) -> str:
    """Where the marks of those who write one workload, or any, lie."""
    return f"writers/{check_workload(workload)}/" if workload else "writers/"


def parse_manifest_key(key: str) -> VersionKey | None:
    """The version whose manifest has that key; None for anything else that lies there."""
    found = _MANIFEST.fullmatch(key)
    return VersionKey(found["workload"], int(found["version"])) if found and int(found["version"]) else None


def parse_pack_key(key: str) -> tuple[str, str] | None:
    """Workload and name of the pack that has that key; None for anything else that lies there."""
    found = _PACK.fullmatch(key)
    return (found["workload"], found["name"]) if found else None


def parse_writer_key(key: str) -> tuple[str, str] | None:
    """Workload and attempt of the mark that has that key; None for anything else that lies there."""
    found = _WRITER.fullmatch(key)
    return (found["workload"], found["attempt"]) if found else None


def parse_envelope_key(key: str) -> EnvelopeKey | None:
    """The address of the envelope that has that key; None for anything else that lies there."""
    found = _ENVELOPE.fullmatch(key)
    if not found:
        return None
    return EnvelopeKey(found["workload"], found["attempt"], int(found["generation"]), found["key_id"])

"""Which blob has which key. Pure; docs/formats lists them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from swarmkeep.errors import InvalidObject

MAX_VERSION = 999_999_999

_PART = r"[a-z0-9](?:[-a-z0-9.]{0,198}[a-z0-9])?"
_WORKLOAD = re.compile(f"{_PART}/{_PART}", re.ASCII)
_MANIFEST = re.compile(f"manifests/(?P<workload>{_PART}/{_PART})/(?P<version>[0-9]{{9}})", re.ASCII)
_DATA = re.compile(f"data/(?P<workload>{_PART}/{_PART})/(?P<version>[0-9]{{9}})-(?P<attempt>[0-9a-f]{{16}})", re.ASCII)
_ATTEMPT = re.compile(r"[0-9a-f]{16}", re.ASCII)


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

    def data(self, attempt: str) -> str:
        """The key of the bytes that one attempt to write the version wrote."""
        return f"data/{self.workload}/{self.version:09}-{check_attempt(attempt)}"


def check_attempt(attempt: str) -> str:
    """Returns `attempt` if it is 16 hexadecimal digits; raises InvalidObject."""
    if not _ATTEMPT.fullmatch(attempt):
        raise InvalidObject(f"{attempt!r} is no name of an attempt")
    return attempt


def check_workload(workload: str) -> str:
    """Returns `workload` if it may be one; raises InvalidObject."""
    if not _WORKLOAD.fullmatch(workload):
        raise InvalidObject(f"{workload[:200]!r} is no workload: it has to be namespace/name, in lower case")
    return workload


def manifests_prefix(workload: str | None = None) -> str:
    """Where the manifests of one workload, or of all, lie."""
    return f"manifests/{check_workload(workload)}/" if workload else "manifests/"


def data_prefix(workload: str | None = None) -> str:
    """Where the bytes of one workload, or of all, lie."""
    return f"data/{check_workload(workload)}/" if workload else "data/"


def parse_manifest_key(key: str) -> VersionKey | None:
    """The version whose manifest has that key; None for anything else that lies there."""
    found = _MANIFEST.fullmatch(key)
    return VersionKey(found["workload"], int(found["version"])) if found and int(found["version"]) else None


def parse_data_key(key: str) -> tuple[VersionKey, str] | None:
    """The version and attempt whose bytes have that key; None for anything else that lies there."""
    found = _DATA.fullmatch(key)
    if not found or not int(found["version"]):
        return None
    return VersionKey(found["workload"], int(found["version"])), found["attempt"]

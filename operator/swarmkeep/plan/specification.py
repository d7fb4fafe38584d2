"""The spec hash: what of a container's configuration makes a process image fit."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Specification:
    """Everything that a running process may have built upon. Not placement, not labels, not update settings."""

    image_id: str
    """Digest of the image's configuration: the same on every node."""
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: tuple[str, ...]
    working_dir: str
    user: str
    mounts: tuple[str, ...]
    """One text for each mount: type, source for what the user named, target, mode."""
    cap_add: tuple[str, ...]
    cap_drop: tuple[str, ...]
    tty: bool
    force_update: int
    """The service's ForceUpdate counter: `docker service update --force` asks for a fresh start."""
    settled: tuple[str, ...] = ()
    """What else a process gets at its start and then never again: secrets, configs, ulimits, sysctls, an init process,
    a read-only root, further groups. One text for each that the user has set."""


def spec_hash(specification: Specification) -> str:
    """Sixteen hexadecimal digits that are equal exactly when the specifications are, whatever the order of sets."""
    fields = asdict(specification)
    for name in ("environment", "mounts", "cap_add", "cap_drop", "settled"):
        fields[name] = sorted(fields[name])
    if not fields["settled"]:
        # Versions from before there was this field go on counting.
        del fields["settled"]
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def mount_text(kind: str, source: str, target: str, read_only: bool) -> str:
    """A mount as the spec hash sees it."""
    return f"{kind}:{source}:{target}:{'ro' if read_only else 'rw'}"

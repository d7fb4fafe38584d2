"""Looks what a server that says it speaks S3 really does: two puts of one name, and a read from the middle.

Both have been met: servers that store over a taken name though the request forbids it, and servers that answer a
request for a range with other bytes, under the right headers.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass

from swarmkeep.errors import Conflict, SwarmKeepError
from swarmkeep.store.object_client import ObjectClient, Unsupported

PROBES = ".probes/"
_PROBE_BYTES = 4096
_RANGE = (1500, 2000)
"""Offset and length of the part that is read: neither end is an end of the object."""

_OVERWRITES = (
    "the server ignores If-None-Match: each object is claimed before it is stored, at five requests instead of one"
)
_NO_RANGES = "the server answers requests for ranges wrongly: whole packs are read where parts would do"


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a server does as it should."""

    refuses_taken: bool
    """A put that asks for it is refused when the name is taken."""
    reads_ranges: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """What is missing, each a sentence for the user."""
        return (() if self.refuses_taken else (_OVERWRITES,)) + (() if self.reads_ranges else (_NO_RANGES,))


def probe(client: ObjectClient, token: str) -> Abilities:
    """Tries it on an object of its own, which it removes; one that stays is removed with what is unfinished.

    Raises what the requests raise: HostError where this node may not write or delete, Unavailable.
    """
    name, content = f"{PROBES}{token}", secrets.token_bytes(_PROBE_BYTES)
    try:
        try:
            client.put(name, content, only_new=True)
            client.put(name, content[::-1], only_new=True)
            refuses, content = False, content[::-1]
        except Conflict:
            refuses = True
        except Unsupported:
            client.put(name, content, only_new=False)
            refuses = False
        whole = client.get(name, _PROBE_BYTES)
        if whole != content:
            # Refused, and stored all the same.
            refuses, content = False, whole
        offset, length = _RANGE
        reads = client.read(name, offset, length) == content[offset : offset + length]
    finally:
        with suppress(SwarmKeepError):
            client.delete(name)
    return Abilities(refuses, reads)

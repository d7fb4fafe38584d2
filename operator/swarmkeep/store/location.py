"""The mark that tells a storage location from an empty folder where it should be mounted.

It is one blob, `swarmkeep-location`, written when the location is first used, with the identity that the location then
has for ever. Without it nothing is written: most often a missing mount is the reason.
"""

from __future__ import annotations

import re
import uuid
from contextlib import suppress

from swarmkeep.errors import Conflict, CorruptData, NewerFormat, NotFound, Unavailable
from swarmkeep.store.blob import BlobStore

MARK_KEY = "swarmkeep-location"

_FORMAT = 1
_MAX_BYTES = 200
_MARK = re.compile(rb"swarmkeep-location ([0-9]{1,6}) ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\n")


def read_location_id(blobs: BlobStore) -> str:
    """The identity of the location.

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
        raise CorruptData(f"{blobs.description}: {MARK_KEY} was overwritten; put back `swarmkeep-location 1 ID`")
    if int(found[1]) != _FORMAT:
        raise NewerFormat(f"{blobs.description} has format {int(found[1])}; this SwarmKeep reads {_FORMAT}: upgrade it")
    return found[2].decode()


def ensure_location_id(blobs: BlobStore) -> str:
    """The identity of the location, made now if it has never been used.

    Raises CorruptData when versions are in it but no identity: somebody removed it.
    """
    try:
        return read_location_id(blobs)
    except Unavailable:
        # Storage that does not answer raises again right here.
        if next(blobs.list("manifests/"), None) is not None:
            raise CorruptData(
                f"{blobs.description} holds versions but no {MARK_KEY}; put back `swarmkeep-location 1 ID`"
            ) from None
    # Another node may be faster: then the location has the identity that it gave.
    with suppress(Conflict):
        blobs.put(MARK_KEY, [f"swarmkeep-location {_FORMAT} {uuid.uuid4()}\n".encode()])
    return read_location_id(blobs)

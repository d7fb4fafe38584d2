"""AES-256-GCM for the parts of one blob. Pure; docs/formats has the layout.

Every blob has a data key of its own, which nothing else is sealed with. So a nonce need only tell the parts of one blob
apart: it is the kind of the part and its number, and can never come twice under one key. The blob's header and its name
are bound to every part: a part does not open in another place, nor under another header.
"""

from __future__ import annotations

import secrets
import struct
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from swarmkeep.errors import CorruptData

KEY_BYTES = 32
TAG_BYTES = 16
"""By so much a sealed part is longer than its content."""

_NONCE = struct.Struct("<IQ")

Buffer = bytes | bytearray | memoryview


class Part(IntEnum):
    """The kinds of parts; docs/formats lists them."""

    FRAME = 0
    FRAME_TABLE = 1
    PAGE_HASHES = 2
    MANIFEST = 3
    DATA_KEY = 4


class Sealer:
    """Seals and opens the parts of one blob. Safe to use from several threads."""

    def __init__(self, data_key: bytes, header: bytes, name: str) -> None:
        """`data_key`: KEY_BYTES bytes that no other blob has."""
        self._cipher = AESGCM(data_key)
        self._bound = header + name.encode()

    def seal(self, part: Part, content: Buffer, number: int = 0) -> bytes:
        """The part sealed. Of each part and number there may be one content only."""
        return self._cipher.encrypt(_NONCE.pack(part, number), content, self._bound)

    def open(self, part: Part, stored: Buffer, what: str, number: int = 0) -> bytes:
        """The content of a part. Raises CorruptData about `what` when a single bit of anything is not as it was."""
        try:
            return self._cipher.decrypt(_NONCE.pack(part, number), stored, self._bound)
        except InvalidTag:
            raise CorruptData(
                f"{what} cannot be decrypted with its key: it was changed, or belongs somewhere else"
            ) from None


def new_data_key() -> bytes:
    """A key for one new blob."""
    return secrets.token_bytes(KEY_BYTES)

"""The keys of a location, and data keys wrapped by them. Pure on bytes, but for chance; docs/formats has the layout.

A location's key comes from a key file and never touches bytes that are stored, only data keys. For each wrapping a
one-time key is derived with a salt of its own, so there is no nonce that could repeat, however many versions there are.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from swarmkeep.errors import CorruptData, NewerFormat
from swarmkeep.store.sealing import KEY_BYTES, TAG_BYTES, Part, Sealer

_MAGIC = b"SWKEEPKY"
_FORMAT = 1
_HEADER = struct.Struct("<8sHH8s32s")
ENVELOPE_BYTES = _HEADER.size + KEY_BYTES + TAG_BYTES
_ID_BYTES = 8
_SALT_BYTES = 32


@dataclass(frozen=True, slots=True)
class LocationKey:
    """One key of a location."""

    secret: bytes = field(repr=False)
    """KEY_BYTES random bytes."""
    source: str = ""
    """Where it comes from, for messages: the path of its file."""
    id: str = field(init=False)
    """16 hexadecimal digits that tell it from other keys and nothing about it."""

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(self.secret)}")
        object.__setattr__(self, "id", _derive(self.secret, b"", b"swarmkeep key id", _ID_BYTES).hex())


class Keyring:
    """The key that new versions are encrypted with, and others that may be needed to read older ones.

    Two with the same current key and the same others are equal.
    """

    def __init__(self, current: LocationKey, previous: Sequence[LocationKey] = ()) -> None:
        self.current = current
        self._by_id = {key.id: key for key in (*reversed(previous), current)}

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all keys."""
        return frozenset(self._by_id)

    def wrap(self, data_key: bytes, name: str) -> bytes:
        """An envelope: the data key of the attempt `name` wrapped by the current key; ENVELOPE_BYTES long."""
        salt = secrets.token_bytes(_SALT_BYTES)
        header = _HEADER.pack(_MAGIC, _FORMAT, 0, bytes.fromhex(self.current.id), salt)
        return header + _sealer(self.current, salt, header, name).seal(Part.DATA_KEY, data_key)

    def unwrap(self, envelope: bytes, name: str, key_id: str) -> bytes:
        """The data key in the envelope that the key `key_id` of this ring wraps. Raises CorruptData, NewerFormat."""
        what = f"the data key of {name}"
        if envelope[:8] == _MAGIC and len(envelope) >= 10 and int.from_bytes(envelope[8:10], "little") > _FORMAT:
            raise NewerFormat(f"{what} is in a format newer than this SwarmKeep reads: upgrade this node")
        if len(envelope) != ENVELOPE_BYTES:
            raise CorruptData(
                f"{what} has {len(envelope)} bytes and not {ENVELOPE_BYTES}: it was cut short or replaced"
            )
        header = envelope[: _HEADER.size]
        magic, format_version, flags, raw_id, salt = _HEADER.unpack(header)
        if (magic, format_version, flags, raw_id.hex()) != (_MAGIC, _FORMAT, 0, key_id):
            raise CorruptData(f"{what} does not begin as one: it was overwritten")
        return _sealer(self._by_id[key_id], salt, header, name).open(Part.DATA_KEY, envelope[_HEADER.size :], what)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Keyring):
            return NotImplemented
        return (self.current.id, self.ids) == (other.current.id, other.ids)

    def __hash__(self) -> int:
        return hash(self.current.id)

    def __str__(self) -> str:
        return "only " + ", ".join(f"{key.id} ({key.source})" for key in reversed(self._by_id.values()))


def _sealer(key: LocationKey, salt: bytes, header: bytes, name: str) -> Sealer:
    return Sealer(_derive(key.secret, salt, b"swarmkeep data key", KEY_BYTES), header, name)


def _derive(secret: bytes, salt: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, purpose).derive(secret)

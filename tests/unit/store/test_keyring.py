from __future__ import annotations

import pytest

from swarmkeep.errors import CorruptData, NewerFormat
from swarmkeep.store.keyring import ENVELOPE_BYTES, Keyring, LocationKey
from swarmkeep.store.sealing import Part, Sealer, new_data_key

KEY = LocationKey(bytes(range(32)), "/etc/one.key")
OTHER = LocationKey(bytes(range(1, 33)), "/etc/two.key")
NAME = "default/redis.1/0123456789abcdef"


def test_a_data_key_comes_back_by_any_ring_that_has_the_key() -> None:
    data_key = new_data_key()
    envelope = Keyring(KEY).wrap(data_key, NAME)

    assert len(envelope) == ENVELOPE_BYTES
    assert Keyring(KEY).unwrap(envelope, NAME, KEY.id) == data_key
    assert Keyring(OTHER, [KEY]).unwrap(envelope, NAME, KEY.id) == data_key


def test_no_two_envelopes_are_alike() -> None:
    data_key = new_data_key()

    assert len({Keyring(KEY).wrap(data_key, NAME)[20:] for _ in range(100)}) == 100


def test_an_envelope_with_any_bit_changed_is_damage() -> None:
    ring = Keyring(KEY)
    envelope = ring.wrap(new_data_key(), NAME)
    for byte in range(len(envelope)):
        for bit in range(8):
            changed = bytearray(envelope)
            changed[byte] ^= 1 << bit
            # A format that this one does not know is told from damage as long as it can be.
            with pytest.raises(NewerFormat if byte in (8, 9) and changed[8:10] != b"\0\0" else CorruptData):
                ring.unwrap(bytes(changed), NAME, KEY.id)


@pytest.mark.parametrize("change", [lambda e: e[:-1], lambda e: e + b"x", lambda e: b"", lambda e: e[:52]])
def test_an_envelope_of_another_length_is_damage(change: object) -> None:
    assert callable(change)
    with pytest.raises(CorruptData, match="cut short"):
        Keyring(KEY).unwrap(change(Keyring(KEY).wrap(new_data_key(), NAME)), NAME, KEY.id)


def test_an_envelope_of_another_version_in_its_place_is_damage() -> None:
    envelope = Keyring(KEY).wrap(new_data_key(), "default/redis.2/0123456789abcdef")

    with pytest.raises(CorruptData, match="belongs somewhere else"):
        Keyring(KEY).unwrap(envelope, NAME, KEY.id)


def test_an_envelope_of_another_key_under_the_name_of_this_one_is_damage() -> None:
    with pytest.raises(CorruptData, match="overwritten"):
        Keyring(KEY, [OTHER]).unwrap(Keyring(OTHER).wrap(new_data_key(), NAME), NAME, KEY.id)


def test_nothing_that_is_printed_shows_a_key() -> None:
    ring = Keyring(KEY, [OTHER])

    assert KEY.secret.hex() not in repr(KEY) + str(KEY)
    assert repr(KEY.secret) not in repr(KEY)
    assert str(ring) == f"only {KEY.id} (/etc/one.key), {OTHER.id} (/etc/two.key)"


def test_the_id_of_a_key_never_changes() -> None:
    """It is written into storage."""
    assert KEY.id == "72487eb75e5059fb"


def test_a_part_opens_in_its_own_place_only() -> None:
    key = new_data_key()
    sealer = Sealer(key, b"header", "name")
    sealed = sealer.seal(Part.FRAME, b"content", 7)

    assert sealer.open(Part.FRAME, sealed, "it", 7) == b"content"
    for other, part, number in (
        (sealer, Part.FRAME, 8),
        (sealer, Part.MANIFEST, 7),
        (Sealer(key, b"Header", "name"), Part.FRAME, 7),
        (Sealer(key, b"header", "Name"), Part.FRAME, 7),
        (Sealer(new_data_key(), b"header", "name"), Part.FRAME, 7),
    ):
        with pytest.raises(CorruptData, match="it cannot be decrypted"):
            other.open(part, sealed, "it", number)

"""The data keys of an encrypted location: one envelope for each attempt to write a version, beside what it locks.

An envelope is the data key of an attempt's manifest, wrapped by a key of the location; the keys of its packs stand in
the manifest. It is put before the manifest is, so a version that exists can be opened. Rewrapping puts an envelope of
the next generation, reads it back, and only then removes those of generations before: so of an attempt the highest
generation that was ever put is there, whoever else rewraps at the same time and whichever key he takes for the current.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from swarmkeep.errors import Conflict, DataError, MissingData, NotFound, Unavailable, WrongKey
from swarmkeep.store.blob import BlobStore
from swarmkeep.store.deadline import Deadline
from swarmkeep.store.keyring import ENVELOPE_BYTES, Keyring
from swarmkeep.store.keys import EnvelopeKey, VersionKey, envelopes_prefix, parse_envelope_key
from swarmkeep.store.sealed_manifest import open_manifest, seal_manifest, sealed_attempt
from swarmkeep.store.sealing import new_data_key

_TRIES = 5
"""Between a listing and a read an envelope may be rewrapped. More than once in a moment hardly happens."""


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What `rewrap` has done and what it has found."""

    rewrapped: int
    """Data keys that were under an older key and are under the current one now."""
    left: int
    """Data keys that are still under another key: because this node does not have that one, or they are damaged."""
    problem: str = ""
    """Why, for the first of them."""


class Vault:
    """Seals and opens the manifests of a location."""

    def __init__(self, blobs: BlobStore, keyring: Keyring) -> None:
        self._blobs = blobs
        self._keyring = keyring

    def seal(self, key: VersionKey, attempt: str, content: bytes) -> bytes:
        """Puts the attempt's envelope; returns what is to be stored of the manifest.

        Raises StorageFull, Unavailable, HostError.
        """
        data_key = new_data_key()
        address = EnvelopeKey(key.workload, attempt, 1, self._keyring.current.id)
        envelope = self._keyring.wrap(data_key, _name(address))
        try:
            self._blobs.put(str(address), [envelope])
        except Conflict:
            # Storage that repeats a request on its own finds its own envelope.
            if self._blobs.get(str(address), ENVELOPE_BYTES) != envelope:
                raise
        return seal_manifest(content, key, attempt, data_key)

    def open(self, key: VersionKey, stored: bytes) -> bytes:
        """The manifest in what was stored. Raises CorruptData, NewerFormat, MissingData, WrongKey, Unavailable."""
        attempt = sealed_attempt(stored, key)
        return open_manifest(stored, key, self._data_key(key.workload, attempt))

    def discard(self, workload: str, attempt: str) -> None:
        """Removes whatever envelopes an attempt has. Raises Unavailable, HostError; then `sweep` finds them."""
        for address in self._list(workload, attempt):
            self._blobs.delete(str(address))

    def rewrap(self, deadline: Deadline) -> Rewrapped:
        """Brings every data key under the current key. Safe to stop anywhere and beside everybody.

        Raises Stopped, Unavailable, StorageFull, HostError.
        """
        groups: dict[tuple[str, str], list[EnvelopeKey]] = {}
        for address in self._list():
            groups.setdefault((address.workload, address.attempt), []).append(address)
        rewrapped, problems = 0, []
        # Nodes begin together, when the key changes: in one order they would all rewrap the same.
        every = list(groups.values())
        random.shuffle(every)
        for group in every:
            deadline.check()
            if len(group) == 1 and group[0].key_id == self._keyring.current.id:
                continue
            try:
                rewrapped += self._rewrap(group)
            except (DataError, WrongKey) as error:
                problems.append(str(error))
        return Rewrapped(rewrapped, len(problems), min(problems, default=""))

    def _rewrap(self, group: list[EnvelopeKey]) -> bool:
        """Returns whether anything had to be rewrapped."""
        top = max(address.generation for address in group)
        newest = [address for address in group if address.generation == top]
        try:
            is_good = self._is_good(newest)
            if not is_good:
                data_key = self._unwrap(group)
                newest = [EnvelopeKey(group[0].workload, group[0].attempt, top + 1, self._keyring.current.id)]
                self._put(newest[0], self._keyring.wrap(data_key, _name(newest[0])))
                # It is read back before anything goes.
                self._unwrap(newest)
        except NotFound:
            # Deleted with its version, or rewrapped by somebody else, since it was listed.
            return False
        for address in group:
            if address.generation < newest[0].generation:
                self._blobs.delete(str(address))
        return not is_good

    def _is_good(self, newest: list[EnvelopeKey]) -> bool:
        """Whether the envelopes of the highest generation leave nothing to do."""
        if any(address.key_id != self._keyring.current.id for address in newest):
            return False
        try:
            self._unwrap(newest)
        except DataError:
            return False
        return True

    def _put(self, address: EnvelopeKey, envelope: bytes) -> None:
        try:
            self._blobs.put(str(address), [envelope])
        except Conflict:
            # Another node was faster. What it wrote has to open like our own.
            return

    def _data_key(self, workload: str, attempt: str) -> bytes:
        first = EnvelopeKey(workload, attempt, 1, self._keyring.current.id)
        try:
            # Most were never rewrapped: then there is nothing to list.
            return self._unwrap([first])
        except (NotFound, DataError):
            pass
        for _ in range(_TRIES):
            found = list(self._list(workload, attempt))
            if not found:
                raise MissingData(
                    f"the data key of {workload} attempt {attempt} is gone from {self._blobs.description}, or the "
                    "manifest that names it was changed: nobody can decrypt that version"
                )
            try:
                return self._unwrap(found)
            except NotFound:
                continue
        raise Unavailable(f"the data key of {workload} attempt {attempt} is rewrapped again and again: try again")

    def _unwrap(self, group: list[EnvelopeKey]) -> bytes:
        """The data key out of the best of an attempt's envelopes.

        Raises NotFound when all that could be opened have gone; CorruptData, NewerFormat, WrongKey.
        """
        known = [address for address in group if address.key_id in self._keyring.ids]
        if not known:
            newest = max(group, key=lambda address: address.generation)
            raise WrongKey(
                f"{_name(newest)} is encrypted with key {newest.key_id}, and this node has {self._keyring}: "
                "give it that key in keyFile or previousKeyFiles"
            )
        problem: DataError | None = None
        for address in sorted(known, key=lambda address: -address.generation):
            try:
                envelope = self._blobs.get(str(address), ENVELOPE_BYTES)
                return self._keyring.unwrap(envelope, _name(address), address.key_id)
            except NotFound:
                continue
            except DataError as error:
                problem = error
        raise problem or NotFound(f"{_name(known[0])} has no data key any more")

    def _list(self, workload: str | None = None, attempt: str | None = None) -> Iterator[EnvelopeKey]:
        for info in self._blobs.list(envelopes_prefix(workload)):
            address = parse_envelope_key(info.key)
            if address and attempt in (None, address.attempt):
                yield address


def _name(address: EnvelopeKey) -> str:
    """What is bound to an envelope: whose it is."""
    return f"{address.workload}/{address.attempt}"

"""Put-if-absent on servers that store over what is there: claims, objects beside the blobs, settle who may put.

Whoever wants to put a blob first leaves a claim for its key, and goes on only when a listing, taken after that, shows
no other's: of any two, the one that lists later sees both. The key is looked at after that, so whoever was too late
finds the blob. Of those who see each other the one with the lowest name waits, the others take their claims back and
try again. That needs a server whose listings show what was put before them, and nothing else.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from blake3 import blake3

from swarmkeep.errors import NotFound, SwarmKeepError, Unavailable
from swarmkeep.store.blob import BlobInfo

Content = bytes | bytearray

CLAIMS = ".claims/"
DEAD_AFTER_S = 3600.0
"""A claim that is older than another by this much is of a process that has died: no put takes nearly that long."""
PATIENCE_S = 30.0
"""How long to try; a claim goes as soon as its put has ended."""
_STEP_S = 0.1


class Objects(Protocol):
    """What claims need of an ObjectClient."""

    description: str

    def put(self, name: str, content: Content, *, only_new: bool) -> None: ...

    def size(self, name: str) -> int: ...

    def list(self, prefix: str) -> Iterator[BlobInfo]: ...

    def delete(self, name: str) -> None: ...


class Claims:
    """Lets one process at a time put a key."""

    def __init__(
        self,
        objects: Objects,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._objects = objects
        self._process = secrets.token_hex(8)
        self._clock = clock
        self._sleep = sleep

    @contextmanager
    def alone(self, key: str, content: Content) -> Iterator[bool]:
        """While inside nobody else is who would put other bytes under this key. Gives whether the key is free.

        Raises Unavailable when others hold it for longer than PATIENCE_S.
        """
        # The same try repeated has the same claim: it must not be in its own way.
        mine = f"{CLAIMS}{key}/{blake3(content).hexdigest(length=16)}-{self._process}"
        deadline = self._clock() + PATIENCE_S
        while True:
            if not self._is_free(key):
                yield False
                return
            self._objects.put(mine, b"", only_new=False)
            left_open = False
            try:
                if self._wait_until_alone(key, mine, deadline):
                    free = self._is_free(key)
                    try:
                        yield free
                    except Unavailable:
                        # The blob may still get there: until that cannot be any more, nobody else may put one.
                        left_open = True
                        raise
                    return
            finally:
                # One that stays is looked past when it is old enough, and removed with what is unfinished.
                if not left_open:
                    with suppress(SwarmKeepError):
                        self._objects.delete(mine)
            if self._clock() > deadline:
                raise Unavailable(f"{self._objects.description}: others have been writing {key} for {PATIENCE_S:g} s")
            self._sleep(random.uniform(_STEP_S, 10 * _STEP_S))  # noqa: S311 - spreads tries, guards nothing

    def _wait_until_alone(self, key: str, mine: str, deadline: float) -> bool:
        """False when somebody else has the right to go first."""
        while True:
            claims = {info.key: info.modified_at for info in self._objects.list(f"{CLAIMS}{key}/")}
            if mine not in claims:
                raise Unavailable(
                    f"{self._objects.description}: a listing does not show what was stored just before; such a server "
                    "cannot keep versions unless it obeys If-None-Match"
                )
            living = [name for name, at in claims.items() if at > claims[mine] - DEAD_AFTER_S]
            if living == [mine]:
                return True
            if min(living) != mine or self._clock() > deadline:
                return False
            self._sleep(_STEP_S)

    def _is_free(self, key: str) -> bool:
        try:
            self._objects.size(key)
        except NotFound:
            return True
        return False

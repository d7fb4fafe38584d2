"""The error tree. An error's class says who has to act, its text says what happened, to what, and what to do.

    SwarmKeepError
    ├── UserError              the user's input has to change
    │   ├── InvalidObject      an object or a file does not say what it must
    │   └── NotFound           what was named does not exist
    ├── Conflict               somebody else was faster: read again, decide again
    ├── Forbidden              the caller's certificate does not allow it
    ├── Unavailable            nothing is wrong but the other side: retry later
    │   ├── KeyFileUnusable    the key of a location is not on this node, or what stands there is no key
    │   ├── WrongKey           something is encrypted with a key that this node does not have
    │   └── NotAsEncrypted     a location is encrypted and should not be, or the other way round
    ├── DataError              stored bytes are not what they must be: never go on with them
    │   ├── MissingData        something that a manifest promises is not there
    │   ├── CorruptData        a hash, a length or a magic number is wrong
    │   └── NewerFormat        written by a newer SwarmKeep
    └── HostError              the operator of this node has to act
        ├── StorageFull        no space where a version has to go
        ├── DumpFailed         CRIU or runc could not freeze or dump a container
        └── RestoreFailed      CRIU or runc could not restore a container

`reason` is the CamelCase word for conditions, events and API answers; `exit_code` is what a command ends with.
"""

from __future__ import annotations

from typing import ClassVar


class SwarmKeepError(Exception):
    """Root of all errors that SwarmKeep raises on purpose."""

    reason: ClassVar[str] = "InternalError"
    exit_code: ClassVar[int] = 1


class UserError(SwarmKeepError):
    """The user's input has to change."""

    reason = "BadRequest"
    exit_code = 2


class InvalidObject(UserError):
    """An object or a file does not say what it must."""

    reason = "Invalid"


class NotFound(UserError):
    """What was named does not exist."""

    reason = "NotFound"
    exit_code = 1


class Conflict(SwarmKeepError):
    """Somebody else was faster; read again and decide again."""

    reason = "Conflict"


class Forbidden(SwarmKeepError):
    """The caller's certificate does not allow it."""

    reason = "Forbidden"


class Unavailable(SwarmKeepError):
    """The other side does not answer now; the same call may succeed later."""

    reason = "Unavailable"
    exit_code = 3


class KeyFileUnusable(Unavailable):
    """The key of a location is not on this node, or what stands there is no key."""

    reason = "KeyFileUnusable"


class WrongKey(Unavailable):
    """Something is encrypted with a key that this node does not have; nothing is wrong with the data."""

    reason = "WrongKey"


class NotAsEncrypted(Unavailable):
    """A location is encrypted and should not be, or the other way round; it is not used then."""

    reason = "NotAsEncrypted"


class DataError(SwarmKeepError):
    """Stored bytes are not what they must be; nobody may go on with them."""

    reason = "DataDamaged"
    exit_code = 4


class MissingData(DataError):
    """Something that a manifest promises is not in storage."""

    reason = "DataMissing"


class CorruptData(DataError):
    """A hash, a length or a magic number is wrong."""

    reason = "DataCorrupt"


class NewerFormat(DataError):
    """Written by a newer SwarmKeep than this one."""

    reason = "NewerFormat"


class HostError(SwarmKeepError):
    """The operator of this node has to act."""

    reason = "HostFailure"
    exit_code = 5


class StorageFull(HostError):
    """There is no space where a version has to go."""

    reason = "StorageFull"


class DumpFailed(HostError):
    """CRIU or runc could not freeze or dump a container."""

    reason = "DumpFailed"


class DumpHindered(DumpFailed):
    """Something was in the way that may be gone a moment later, as a command that talks to the container."""


class RestoreFailed(HostError):
    """CRIU or runc could not restore a container."""

    reason = "RestoreFailed"

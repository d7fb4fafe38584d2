"""Operating system errors in the words of the error tree. Used by whatever in this room touches files."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from swarmkeep.errors import HostError, StorageFull, SwarmKeepError, Unavailable

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTSUP, errno.ENAMETOOLONG, errno.ELOOP, errno.EFBIG, errno.EMFILE}
)


def storage_error(error: OSError, where: str) -> SwarmKeepError:
    """The error of a storage location `where` for an OSError met there."""
    if error.errno in _FULL:
        return StorageFull(f"{where}: no space left for another version; free some, or keep fewer versions")
    if error.errno in _REFUSED:
        return HostError(f"{where}: this node may not do that: {error}")
    return Unavailable(f"{where}: {error}")


def host_error(error: OSError, doing: str) -> SwarmKeepError:
    """The error for an OSError met on this node's own disk while `doing` something."""
    if error.errno in _FULL:
        return StorageFull(f"no space left on this node while {doing}: {error}")
    return HostError(f"failed while {doing}: {error}")


@contextmanager
def on_storage(where: str) -> Iterator[None]:
    """Turns an OSError inside into a storage error."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, where) from error


@contextmanager
def on_this_node(doing: str) -> Iterator[None]:
    """Turns an OSError inside into an error of this node."""
    try:
        yield
    except OSError as error:
        raise host_error(error, doing) from error

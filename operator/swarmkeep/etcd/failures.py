"""etcd's failures in the terms of our error tree, and which of them are worth another try."""

from __future__ import annotations

import re

import grpc

from swarmkeep.errors import Conflict, Forbidden, StorageFull, SwarmKeepError, Unavailable, UserError


class EtcdUnavailable(Unavailable):
    """No etcd member answered in time."""


class EtcdOutcomeUnknown(EtcdUnavailable):
    """No etcd member answered in time, and the write may have been carried out all the same."""


class Compacted(Conflict):
    """The revision that was asked for has been compacted away: read the newest state and go on from there."""

    reason = "Expired"

    def __init__(self, revision: int = 0) -> None:
        self.revision = revision
        """The oldest revision that is still there; 0 if etcd did not say."""
        super().__init__("etcd has compacted the revision that was asked for")


class FutureRevision(Compacted):
    """The revision that was asked for has not been yet, as after etcd was restored from a backup: list again, too."""


class RequestTooLarge(UserError):
    """More than etcd takes in one request."""

    reason = "RequestEntityTooLarge"


class LeaseGone(Conflict):
    """The lease that was named has run out or was revoked."""

    reason = "LeaseGone"


class EtcdFailure(SwarmKeepError):
    """etcd refused for a reason that no retry will change: a fault of ours or of the installation."""


_RETRIED = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        # What a member without a majority says when its own time is up, or when it is stopping.
        grpc.StatusCode.UNKNOWN,
    }
)
_NEVER_SENT = re.compile(r"failed to connect|connection refused|no route to host|name resolution|dns", re.IGNORECASE)


def is_retried(error: grpc.RpcError) -> bool:
    """Whether another member, or the same one later, may well answer."""
    code = _code(error)
    # Not a fault of the caller: etcd sheds load, or has no leader yet.
    shed = code is grpc.StatusCode.RESOURCE_EXHAUSTED and "too many requests" in _details(error)
    return code in _RETRIED or shed


def was_never_sent(error: grpc.RpcError) -> bool:
    """Whether it is certain that etcd has not seen the request."""
    return _code(error) is grpc.StatusCode.UNAVAILABLE and bool(_NEVER_SENT.search(_details(error)))


def failure_of(error: grpc.RpcError, doing: str) -> SwarmKeepError:
    """The exception to raise for an answer that is not to be retried, or not any more; `doing` says what failed."""
    code, details = _code(error), _details(error)
    text = f"etcd: {doing}: {details or code.name}"
    if "compacted" in details:
        return Compacted()
    if "future revision" in details:
        return FutureRevision()
    if "lease not found" in details:
        return LeaseGone(text)
    if "database space exceeded" in details:
        return StorageFull(f"{text}: free space in etcd (compact, defragment, disarm the alarm), then try again")
    if "request is too large" in details or "too many operations" in details:
        return RequestTooLarge(text)
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
        return Forbidden(text)
    if is_retried(error) or code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return EtcdUnavailable(text)
    return EtcdFailure(text)


def describe(error: grpc.RpcError) -> str:
    """One line for the log."""
    return f"{_code(error).name}: {_details(error)}"


def _code(error: grpc.RpcError) -> grpc.StatusCode:
    code = error.code() if hasattr(error, "code") else None
    return code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN


def _details(error: grpc.RpcError) -> str:
    details = error.details() if hasattr(error, "details") else None
    return str(details or "")

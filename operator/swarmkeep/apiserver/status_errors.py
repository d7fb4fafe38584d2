"""Errors as clients of a Kubernetes API expect them: HTTP status, and a Status object that says the same in words.

Raised by the verbs, or made from our error tree by `status_of`, which the outermost handler calls.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from swarmkeep import errors
from swarmkeep.apiserver.apply import ApplyConflict
from swarmkeep.apiserver.protobuf import UnsupportedMedia
from swarmkeep.apiserver.resources import Resource
from swarmkeep.apiserver.schema import invalid_message
from swarmkeep.apiserver.validation import FieldError
from swarmkeep.etcd.failures import Compacted, EtcdOutcomeUnknown, RequestTooLarge

Status = dict[str, Any]

RETRY_AFTER_S = 1


class StatusError(errors.SwarmKeepError):
    """An answer that is no success."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status_reason = reason
        self.details = dict(details or {})
        self.headers = dict(headers or {})


def failure(code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> Status:
    """A Status object for something that failed."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        **({"details": dict(details)} if details else {}),
        "code": code,
    }


def deleted(resource: Resource, name: str, uid: str) -> Status:
    """What a deletion is answered with when the object is gone at once."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": name, "group": resource.group, "kind": resource.plural, "uid": uid},
    }


def bad_request(message: str) -> StatusError:
    """400: the request makes no sense."""
    return StatusError(400, "BadRequest", message)


def unknown_path(path: str) -> StatusError:
    """404: nothing is served there."""
    return StatusError(404, "NotFound", f"the server could not find the requested resource: {path}")


def not_found(resource: Resource, name: str) -> StatusError:
    """404: there is no such object."""
    return StatusError(404, "NotFound", f'{resource.qualified_plural} "{name}" not found', _about(resource, name))


def namespace_not_found(name: str) -> StatusError:
    """404 for a new object in a namespace that does not exist."""
    message = f'namespaces "{name}" not found: make it first with `kubectl create namespace {name}`'
    return StatusError(404, "NotFound", message, {"name": name, "kind": "namespaces"})


def already_exists(resource: Resource, name: str) -> StatusError:
    """409: an object of this name exists."""
    message = f'{resource.qualified_plural} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, _about(resource, name))


def conflict(resource: Resource, name: str, problem: str) -> StatusError:
    """409: somebody else was faster, or the object is not the one that is meant."""
    message = f'Operation cannot be fulfilled on {resource.qualified_plural} "{name}": {problem}'
    return StatusError(409, "Conflict", message, _about(resource, name))


def modified(resource: Resource, name: str) -> StatusError:
    """409 for a resourceVersion that is no longer the newest."""
    problem = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(resource, name, problem)


def invalid(resource: Resource, name: str, found: Iterable[FieldError]) -> StatusError:
    """422: the object is not what its schema demands; one cause for each field."""
    found = list(found)
    details = {
        "name": name,
        "group": resource.group,
        "kind": resource.kind,
        "causes": [error.cause() for error in found],
    }
    return StatusError(422, "Invalid", invalid_message(resource, name, found), details)


def forbidden(resource: Resource, name: str, problem: str) -> StatusError:
    """403: the caller, or the state of things, does not allow it."""
    message = f'{resource.qualified_plural} "{name}" is forbidden: {problem}'
    return StatusError(403, "Forbidden", message, _about(resource, name))


def method_not_allowed(what: str) -> StatusError:
    """405: this is not done here."""
    return StatusError(405, "MethodNotAllowed", what)


def unsupported_media(content_type: str, accepted: Iterable[str]) -> StatusError:
    """415: the body is of a kind that is not read."""
    message = f"the body of the request was in an unknown format ({content_type}) - accepted media types include: "
    return StatusError(415, "UnsupportedMediaType", message + ", ".join(accepted))


def expired(problem: str) -> StatusError:
    """410: the state that was asked about is no longer known."""
    return StatusError(410, "Expired", problem)


def too_old(revision: int, oldest: int) -> StatusError:
    """410 for a watch from too long ago."""
    return expired(f"too old resource version: {revision} ({oldest})")


def fenced_off(name: str, token: int) -> StatusError:
    """409: whoever wrote is no longer the leader."""
    message = f"the writer's leadership of {name} (token {token}) has ended: it must stop"
    return StatusError(409, "FencedOff", message)


def lease_alive(node: str, retry_after_s: float, why: str) -> StatusError:
    """409: a node whose lease was said to have run out may still live."""
    return StatusError(
        409,
        "LeaseAlive",
        f"the lease of node {node} has not run out: {why}; ask again in {retry_after_s:.3f}s",
        {"name": node, "kind": "leases", "retryAfterSeconds": max(1, math.ceil(retry_after_s))},
        {"Retry-After-Ms": str(max(1, math.ceil(retry_after_s * 1000)))},
    )


def outcome_unknown(what: str) -> StatusError:
    """504, without an invitation to try again: a client that repeats the write could do it twice."""
    return StatusError(504, "Timeout", f"{what}; it may have been carried out: read the object before trying again")


def status_of(error: Exception) -> StatusError:
    """Any exception as an answer; what is nobody's intention becomes 500."""
    match error:
        case StatusError():
            return error
        case ApplyConflict(causes=causes):
            return StatusError(409, "Conflict", str(error), {"causes": [cause.cause() for cause in causes]})
        case Compacted():
            return expired("the resource version that was asked for is too old: list again")
        case RequestTooLarge():
            return StatusError(413, "RequestEntityTooLarge", f"the object is too large to be stored: {error}")
        case UnsupportedMedia():
            return StatusError(415, "UnsupportedMediaType", str(error))
        case EtcdOutcomeUnknown():
            return outcome_unknown(str(error))
        case errors.Unavailable():
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            details = {"retryAfterSeconds": RETRY_AFTER_S}
            return StatusError(503, "ServiceUnavailable", str(error), details, headers)
        case errors.StorageFull():
            return StatusError(507, "InsufficientStorage", str(error))
        case errors.InvalidObject():
            return StatusError(422, "Invalid", str(error))
        case errors.NotFound():
            return StatusError(404, "NotFound", str(error))
        case errors.UserError():
            return bad_request(str(error))
        case errors.Conflict():
            return StatusError(409, "Conflict", str(error))
        case errors.Forbidden():
            return StatusError(403, "Forbidden", str(error))
    return StatusError(500, "InternalError", f"Internal error occurred: {type(error).__name__}")


def _about(resource: Resource, name: str) -> dict[str, Any]:
    return {"name": name, "group": resource.group, "kind": resource.plural}

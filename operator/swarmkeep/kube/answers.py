"""What the API's refusals become: one exception class for each reason that callers tell apart.

The classes belong to the tree in swarmkeep.errors, so that callers may catch either the broad or the narrow one.
Used by the transport for whole answers and by watches for ERROR lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from swarmkeep import errors


class ApiError(errors.SwarmKeepError):
    """An answer of the API that is not a success; `status` is its Status object as decoded JSON."""

    def __init__(
        self,
        message: str,
        *,
        status: Mapping[str, Any] | None = None,
        status_code: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        """HTTP's status; None when there was no answer."""
        self.status: Mapping[str, Any] = status or {}
        self.retry_after_s = retry_after_s
        """When the API said so: how long to wait before the same call can succeed."""

    @property
    def server_reason(self) -> str:
        """The reason word exactly as the server gave it; empty when it gave none."""
        return str(self.status.get("reason") or "")

    @property
    def causes(self) -> list[dict[str, Any]]:
        """The Status' causes, each with `field`, `reason` and `message`."""
        details = self.status.get("details") or {}
        return list(details.get("causes") or [])


class ApiNotFound(ApiError, errors.NotFound):
    """404."""


class ApiInvalid(ApiError, errors.InvalidObject):
    """400 or 422: the object or the request has to change."""


class ApiForbidden(ApiError, errors.Forbidden):
    """401 or 403."""


class ApiUnavailable(ApiError, errors.Unavailable):
    """429 or 5xx, no connection, or no answer in time."""


class ApiConflict(ApiError, errors.Conflict):
    """409 for a resourceVersion that is no longer the newest, or a field that somebody else owns."""


class AlreadyExists(ApiConflict):
    """409: an object of this name exists."""

    reason: ClassVar[str] = "AlreadyExists"


class FencedOff(ApiConflict):
    """409: the writer is no longer the leader."""

    reason: ClassVar[str] = "FencedOff"


class LeaseAlive(ApiConflict):
    """409: the node whose workload was to be taken still lives; `retry_after_s` says when to ask again."""

    reason: ClassVar[str] = "LeaseAlive"


class Gone(ApiError, errors.Conflict):
    """410: the resourceVersion is too old to go on from; list again."""

    reason: ClassVar[str] = "Expired"


_CONFLICTS = {kind.reason: kind for kind in (AlreadyExists, FencedOff, LeaseAlive)}


def error_of(code: int, body: Any, headers: Mapping[str, str], request: str) -> ApiError:
    """The exception for an answer with status `code`.

    `body` is the decoded answer, or its text when it was no JSON; `request` ("GET /apis/...") names the call when the
    server's own words do not.
    """
    status: Mapping[str, Any] = body if isinstance(body, Mapping) and body.get("kind") == "Status" else {}
    message = str(status.get("message") or "")
    if not message:
        text = body if isinstance(body, str) else ""
        message = f"{request} was answered with {code}" + (f": {text.strip()[:200]}" if text.strip() else "")
    cls: type[ApiError]
    if code == 409:
        cls = _CONFLICTS.get(str(status.get("reason")), ApiConflict)
    elif code == 429 or code >= 500:
        cls = ApiUnavailable
    else:
        cls = {401: ApiForbidden, 403: ApiForbidden, 404: ApiNotFound, 410: Gone}.get(code, ApiInvalid)
    return cls(message, status=status, status_code=code, retry_after_s=_retry_after(status, headers))


def _retry_after(status: Mapping[str, Any], headers: Mapping[str, str]) -> float | None:
    details = status.get("details") or {}
    candidates = (
        (headers.get("Retry-After-Ms"), 0.001),
        (headers.get("Retry-After"), 1.0),
        (details.get("retryAfterSeconds"), 1.0),
    )
    for value, unit in candidates:
        try:
            if value is not None:
                return max(0.0, float(value) * unit)
        except (TypeError, ValueError):
            continue  # Retry-After may also be a date, which none of our servers sends
    return None

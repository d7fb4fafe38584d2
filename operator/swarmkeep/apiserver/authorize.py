"""Turns what authz.py decides into answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarmkeep.apiserver import authz
from swarmkeep.apiserver.call import Call
from swarmkeep.apiserver.status_errors import StatusError, forbidden


def authorize(call: Call) -> None:
    """Raises StatusError 403 if the caller may not do this, whatever the object says."""
    if problem := authz.denial(call.user, call.access):
        raise _denied(call, problem)


def authorize_write(call: Call, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
    """Raises StatusError 403 if the caller may not turn `old` into `new`."""
    if problem := authz.write_denial(call.user, call.access, old, new, call.demands.expired_lease):
        raise _denied(call, problem)


def _denied(call: Call, problem: str) -> StatusError:
    return forbidden(call.resource, call.name, f'User "{call.user.name}" cannot {call.access.describe()}: {problem}')

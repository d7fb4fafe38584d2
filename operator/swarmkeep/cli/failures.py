"""Errors as users of kubectl expect them: one line on standard error, and the exit code of the error's class."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from swarmkeep.errors import SwarmKeepError

if TYPE_CHECKING:
    from swarmkeep.cli.documents import Document

_UNKNOWN_FIELD = re.compile(r'unknown field "(?P<field>[^"]+)"(?:, did you mean "[^"]+"\?)?')


def explain_failure(error: SwarmKeepError) -> str:
    """What to print for `error`: `Error from server (NotFound): workloads.swarmkeep.dev "x" not found`."""
    status: Mapping[str, Any] = getattr(error, "status", None) or {}
    if getattr(error, "status_code", None) is None:
        return f"error: {error}"
    causes = getattr(error, "causes", [])
    details = status.get("details") or {}
    if status.get("reason") == "Invalid" and causes:
        listed = "".join(f"\n* {_cause(cause)}" for cause in causes)
        return f'The {details.get("kind", "object")} "{details.get("name", "")}" is invalid:{listed}'
    reason = status.get("reason") or error.reason
    return f"Error from server ({reason}): {error}" + _advice(causes)


def explain_document_failure(error: SwarmKeepError, document: Document) -> str:
    """Like `explain_failure` for an object from a file: every complaint with the line that it is about."""
    what = f'{document.body["kind"]} "{document.body["metadata"]["name"]}"'
    causes = getattr(error, "causes", [])
    reason = (getattr(error, "status", None) or {}).get("reason")
    if reason == "Invalid" and causes:
        lines = [(document.line_of(str(cause.get("field") or "")), _cause(cause)) for cause in causes]
    elif unknown := list(_UNKNOWN_FIELD.finditer(str(error))):
        lines = [(document.line_of(match["field"]), match[0]) for match in unknown]
    else:
        return f"{explain_failure(error)} ({document.place}: {what})"
    listed = "".join(f"\n  line {line}: {text}" for line, text in sorted(lines))
    return f"{document.origin}: {what} is invalid:{listed}"


def _cause(cause: Mapping[str, Any]) -> str:
    field, message = str(cause.get("field") or ""), str(cause.get("message") or "")
    return f"{field}: {message}" if field and not message.startswith(field) else message


def _advice(causes: list[dict[str, Any]]) -> str:
    if not any(cause.get("reason") == "FieldManagerConflict" for cause in causes):
        return ""
    fields = "".join(f"\n* {cause.get('field')}: {cause.get('message')}" for cause in causes)
    hint = "Somebody else set these fields: leave them out of the file, or take them over with --force-conflicts"
    return f"{fields}\n{hint}"

"""Objects as answers: whole, as metadata only, or as rows of a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from swarmkeep.apiserver import codec
from swarmkeep.apiserver.call import utc_now
from swarmkeep.apiserver.negotiation import Form, Wanted
from swarmkeep.apiserver.resources import Resource
from swarmkeep.apiserver.tables import partial_metadata, table


@dataclass(frozen=True, slots=True)
class Answer:
    """What a verb says: a status code, JSON, and headers."""

    code: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListPosition:
    """Metadata of a list."""

    revision: int
    continue_token: str = ""
    remaining: int | None = None


def object_answer(
    resource: Resource, obj: bytes, wanted: Wanted, code: int = 200, warnings: Sequence[str] = ()
) -> Answer:
    """One object, given as JSON with its version."""
    headers = {}
    if warnings:
        texts = (warning.replace("\\", "\\\\").replace('"', '\\"') for warning in warnings)
        headers["Warning"] = ", ".join(f'299 - "{_printable(text)}"' for text in texts)
    return Answer(code, render_object(resource, obj, wanted), headers)


def render_object(resource: Resource, obj: bytes, wanted: Wanted, *, columns: bool = True) -> bytes:
    """One object in the form that is wanted."""
    if wanted.form is Form.OBJECT:
        return obj
    decoded = json.loads(obj)
    if wanted.form is Form.METADATA:
        return codec.dump(partial_metadata(decoded))
    version = decoded["metadata"].get("resourceVersion", "")
    return codec.dump(
        table(resource, [decoded], include=wanted.include, resource_version=version, columns=columns, now=utc_now())
    )


def list_answer(resource: Resource, objects: Sequence[bytes], position: ListPosition, wanted: Wanted) -> Answer:
    """Many objects, each given as JSON with its version."""
    if wanted.form is Form.TABLE:
        rows = table(
            resource,
            (json.loads(obj) for obj in objects),
            include=wanted.include,
            resource_version=str(position.revision),
            continue_token=position.continue_token,
            remaining=position.remaining,
            now=utc_now(),
        )
        return Answer(200, codec.dump(rows))
    kind, api_version = resource.list_kind, resource.api_version
    if wanted.form is Form.METADATA:
        kind, api_version = "PartialObjectMetadataList", "meta.k8s.io/v1"
        objects = [codec.dump(partial_metadata(json.loads(obj))) for obj in objects]
    metadata: dict[str, Any] = {"resourceVersion": str(position.revision)}
    if position.continue_token:
        metadata["continue"] = position.continue_token
    if position.remaining is not None:
        metadata["remainingItemCount"] = position.remaining
    head = codec.dump({"kind": kind, "apiVersion": api_version, "metadata": metadata})
    return Answer(200, b'%b,"items":[%b]}' % (head[:-1], b",".join(objects)))


def json_answer(value: Any, code: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Anything else."""
    return Answer(code, codec.dump(value), dict(headers or {}))


def _printable(text: str) -> str:
    """Headers take neither line ends nor letters beyond Latin-1."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)

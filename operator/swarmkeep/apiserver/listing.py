"""GET of one object, and of a collection: selectors, pages, and old revisions."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swarmkeep.apiserver import codec
from swarmkeep.apiserver.answers import ListPosition
from swarmkeep.apiserver.call import Call, integer
from swarmkeep.apiserver.keys import key_of, prefix_of
from swarmkeep.apiserver.selectors import FieldSelector, LabelSelector, parse_field_selector, parse_label_selector
from swarmkeep.apiserver.services import Services
from swarmkeep.apiserver.status_errors import bad_request, not_found
from swarmkeep.apiserver.store import Stored
from swarmkeep.etcd.records import KeyValue

CHUNK = 500
"""Keys that are read from etcd at once: the server answers others in between."""

MAX_REVISION = 2**63 - 1
"""etcd counts in 64 bits."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a collection a request means."""

    labels: LabelSelector | None
    fields: FieldSelector | None

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.labels is None and self.fields is None

    @property
    def name(self) -> str:
        """The only name that can match; empty if there may be several."""
        return self.fields.equal.get("metadata.name", "") if self.fields else ""

    def __call__(self, obj: Mapping[str, Any]) -> bool:
        if self.labels is not None and not self.labels(obj["metadata"].get("labels") or {}):
            return False
        return self.fields is None or self.fields(obj)


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a collection."""

    items: list[KeyValue]
    position: ListPosition

    def objects(self) -> list[bytes]:
        """The objects as JSON with their versions."""
        return [codec.stamp(item.value, item.mod_revision) for item in self.items]


async def get(services: Services, call: Call) -> Stored:
    """One object. Raises StatusError 404."""
    stored = await services.store.read(key_of(call.resource, call.namespace, call.name))
    if stored is None:
        raise not_found(call.resource, call.name)
    return stored


def selection_of(call: Call) -> Selection:
    """The selectors of a request. Raises UserError."""
    labels, fields = call.query.get("labelSelector", ""), call.query.get("fieldSelector", "")
    return Selection(
        parse_label_selector(labels) if labels.strip() else None,
        parse_field_selector(fields, call.resource) if fields.strip(", ") else None,
    )


async def list_page(services: Services, call: Call) -> Page:
    """The part of a collection that a list request asks for. Raises StatusError, Compacted."""
    selection = selection_of(call)
    limit = integer(call.query, "limit")
    prefix = prefix_of(call.resource, call.namespace)
    if token := call.query.get("continue", ""):
        revision, start = _read_token(token, prefix)
    else:
        revision, start = _asked_revision(call), ""
    if selection.name and (call.namespace or not call.resource.namespaced):
        return await _one(services, prefix, prefix + selection.name, selection, revision)
    return await _scan(services, prefix, selection, limit, revision, start)


async def _one(services: Services, prefix: str, key: str, selection: Selection, revision: int) -> Page:
    found = await services.store.page(prefix, limit=1, revision=revision, start=key)
    items = [item for item in found.items if item.key == key and selection(codec.decode(item.value, 0))]
    return Page(items, ListPosition(revision or found.revision))


async def _scan(services: Services, prefix: str, selection: Selection, limit: int, revision: int, start: str) -> Page:
    items: list[KeyValue] = []
    while True:
        wanted = min(CHUNK, limit - len(items)) if limit and selection.everything else CHUNK
        found = await services.store.page(prefix, limit=wanted, revision=revision, start=start)
        # Later chunks are of the same instant as the first.
        revision = revision or found.revision
        for index, item in enumerate(found.items):
            start = item.key + "\x00"
            if not selection.everything and not selection(codec.decode(item.value, item.mod_revision)):
                continue
            items.append(item)
            left = len(found.items) - index - 1
            if limit and len(items) == limit and (found.more or left):
                remaining = found.count - index - 1 if selection.everything else None
                return Page(items, ListPosition(revision, _token(revision, start), remaining))
        if not found.more:
            return Page(items, ListPosition(revision))


def _asked_revision(call: Call) -> int:
    """The revision to read at; 0 for the newest, which is never older than any that a client has seen."""
    version, match = integer(call.query, "resourceVersion"), call.query.get("resourceVersionMatch", "")
    match match:
        case "Exact":
            if not version:
                raise bad_request("resourceVersionMatch=Exact needs a resourceVersion")
            return version
        case "" | "NotOlderThan":
            return 0
    raise bad_request(f'Invalid value: "{match}": resourceVersionMatch must be Exact or NotOlderThan')


def _token(revision: int, start: str) -> str:
    text = json.dumps({"v": 1, "rv": revision, "start": start})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_token(token: str, prefix: str) -> tuple[int, str]:
    try:
        content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        revision, start = content["rv"], content["start"]
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise bad_request("continue is no token of this API") from None
    if (
        not isinstance(revision, int)
        or not 1 <= revision <= MAX_REVISION
        or not isinstance(start, str)
        or not start.startswith(prefix)
    ):
        raise bad_request("continue is a token of another list")
    return revision, start

"""Tables computed by the server (meta.k8s.io/v1 Table): asked for, followed, and turned into rows of text."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from swarmkeep.cli.printing import cell_text
from swarmkeep.cli.resources import Resource
from swarmkeep.errors import Unavailable
from swarmkeep.kube.answers import error_of
from swarmkeep.kube.client import PAGE_SIZE, Client, collection_path, object_path

_ACCEPT = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


SILENCE_LIMIT_S = 7200.0
"""Streams of tables carry no bookmarks: silence is nothing strange. The server ends them within an hour, and a dead
server is noticed by the kernel."""


@dataclass(frozen=True, slots=True)
class Row:
    """One object's line."""

    cells: tuple[Any, ...]
    object: Mapping[str, Any]
    """Its metadata, or all of it when `whole` was asked for."""

    @property
    def namespace(self) -> str:
        return str(self.object.get("metadata", {}).get("namespace") or "")

    @property
    def name(self) -> str:
        return str(self.object.get("metadata", {}).get("name") or "")

    @property
    def version(self) -> str:
        """The object's identity and resource version: another one is another state."""
        metadata = self.object.get("metadata", {})
        return f"{metadata.get('uid')}/{metadata.get('resourceVersion')}"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows, as of `resource_version`."""

    columns: tuple[Mapping[str, Any], ...]
    rows: tuple[Row, ...]
    resource_version: str = ""

    def headers(self, *, wide: bool) -> list[str]:
        """The visible columns' names in capitals."""
        return [str(self.columns[index]["name"]).upper() for index in self._visible(wide)]

    def texts(self, row: Row, *, wide: bool) -> list[str]:
        """The visible cells of a row."""
        return [cell_text(row.cells[index]) for index in self._visible(wide)]

    def _visible(self, wide: bool) -> list[int]:
        return [index for index, column in enumerate(self.columns) if wide or not column.get("priority")]


@dataclass(frozen=True, slots=True)
class Question:
    """Which objects of a kind."""

    resource: Resource
    namespace: str | None
    labels: str = ""
    fields: str = ""
    whole: bool = False
    """Ask for whole objects with each row, to sort by any field."""
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return collection_path(self.resource.kind, self.namespace)

    @property
    def params(self) -> dict[str, str]:
        all_ = {
            "labelSelector": self.labels,
            "fieldSelector": self.fields,
            "includeObject": "Object" if self.whole else "",
        }
        return {key: value for key, value in all_.items() if value} | dict(self.extra)


async def fetch_table(client: Client, question: Question) -> Table:
    """All objects that match, page by page."""
    columns: tuple[Mapping[str, Any], ...] = ()
    rows: list[Row] = []
    position = ""
    while True:
        params = {**question.params, "limit": str(PAGE_SIZE), **({"continue": position} if position else {})}
        answer = await client.transport.request("GET", question.path, params=params, headers=_ACCEPT, repeatable=True)
        page = _table(answer.body, columns)
        columns = columns or page.columns
        rows += page.rows
        position = str((answer.body.get("metadata") or {}).get("continue") or "")
        if not position:
            return Table(columns, tuple(rows), page.resource_version)


async def fetch_row(client: Client, question: Question, name: str) -> Table:
    """One object as a table of one row. Raises ApiNotFound."""
    path = object_path(question.resource.kind, name, question.namespace)
    params = {key: value for key, value in question.params.items() if key == "includeObject"}
    answer = await client.transport.request("GET", path, params=params, headers=_ACCEPT, repeatable=True)
    return _table(answer.body, ())


async def follow_table(client: Client, question: Question, start: Table) -> AsyncIterator[tuple[str, Table]]:
    """Type of event and a table of one row for each change after `start`, until the stream ends.

    Raises Gone when `start` is too long ago, Unavailable when the connection breaks.
    """
    params = {
        **question.params,
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": start.resource_version,
    }
    columns = start.columns
    lines = client.transport.lines(question.path, params=params, headers=_ACCEPT, silence_limit_s=SILENCE_LIMIT_S)
    async with aclosing(lines):
        async for line in lines:
            type_, obj = _event(line, question.path)
            table = _table(obj, columns)
            columns = table.columns
            yield type_, table


def _event(line: bytes, path: str) -> tuple[str, dict[str, Any]]:
    try:
        event = json.loads(line)
        type_, obj = str(event["type"]), event["object"]
        code = int(obj.get("code") or 500)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Unavailable(f"watch {path}: a line makes no sense: {line[:200]!r}") from None
    if type_ == "ERROR":
        raise error_of(code, obj, {}, f"watch {path}")
    return type_, obj


def _table(body: Any, columns: tuple[Mapping[str, Any], ...]) -> Table:
    if not isinstance(body, dict):
        raise Unavailable("the server answered with something that is no object: is this the right server?")
    metadata = body.get("metadata") or {}
    if body.get("kind") != "Table":
        # A bookmark may come as a bare object of the kind.
        return Table(columns, (), str(metadata.get("resourceVersion") or ""))
    rows = tuple(Row(tuple(row["cells"]), row.get("object") or {}) for row in body.get("rows") or ())
    version = str(metadata.get("resourceVersion") or "")
    if not version and rows:
        version = str(rows[-1].object.get("metadata", {}).get("resourceVersion") or "")
    return Table(tuple(body.get("columnDefinitions") or ()) or columns, rows, version)

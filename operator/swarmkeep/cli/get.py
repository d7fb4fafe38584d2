"""`swarmkeep get`: objects as the server's tables, or as YAML, JSON, names and templates."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarmkeep.cli.completing import objects
from swarmkeep.cli.options import ContextName, Kubeconfig, Namespace, Options, RequestTimeout
from swarmkeep.cli.session import Session, run

if TYPE_CHECKING:
    from swarmkeep.cli.printing import Columns, Format
    from swarmkeep.cli.resources import Resource, Selected
    from swarmkeep.cli.tables import Question, Row, Table

RETRY_PAUSE_S = 1.0
"""Between two attempts to go on with --watch."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """The flags that say what is printed."""

    format: Format
    labels: str
    fields: str
    everywhere: bool
    no_headers: bool
    sort_by: str
    show_labels: bool
    label_columns: tuple[str, ...]
    ignore_not_found: bool
    managed_fields: bool


def get(
    what: Annotated[
        list[str],
        typer.Argument(metavar="KIND[,KIND] [NAME...] | KIND/NAME...", help="What to show.", autocompletion=objects),
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="wide, yaml, json, name, jsonpath=..., custom-columns=HEADER:PATH,..."),
    ] = None,
    labels: Annotated[str, typer.Option("--selector", "-l", help="Only objects with these labels.")] = "",
    fields: Annotated[str, typer.Option("--field-selector", help="Only objects with these fields.")] = "",
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on with every change, until Ctrl-C.")] = False,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Only rows.")] = False,
    sort_by: Annotated[
        str, typer.Option("--sort-by", help="JSONPath of what to sort by, for example .spec.policy")
    ] = "",
    show_labels: Annotated[bool, typer.Option("--show-labels", help="All labels as a last column.")] = False,
    label_columns: Annotated[
        list[str] | None, typer.Option("--label-columns", "-L", help="These labels as columns.")
    ] = None,
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="A missing object is no error.")] = False,
    show_managed_fields: Annotated[bool, typer.Option("--show-managed-fields", help="Who set which field.")] = False,
    namespace: Namespace = None,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Shows objects. `keep` stands for all kinds of SwarmKeep.

    Example: swarmkeep get wl -n shop -o wide
    """
    from swarmkeep.cli.printing import Format
    from swarmkeep.errors import InvalidObject

    if sort_by:
        from swarmkeep.cli.jsonpath import compile_path

        compile_path(sort_by)
    wish = _Wish(
        Format.parse(output),
        labels,
        fields,
        everywhere,
        no_headers,
        sort_by,
        show_labels,
        tuple(name for entry in label_columns or () for name in entry.split(",")),
        ignore_not_found,
        show_managed_fields,
    )

    async def work(session: Session) -> int:
        selected = session.catalogue.select(what)
        if any(one.names for one in selected) and (labels or fields or everywhere):
            raise InvalidObject("names cannot be combined with -l, --field-selector or -A")
        if watch:
            if len(selected) > 1 or len(selected[0].names) > 1:
                raise InvalidObject("--watch needs one kind, and at most one name")
            return await _Getter(session, wish).follow(selected[0])
        return await _Getter(session, wish).show(selected)

    run(Options(namespace, context, kubeconfig, request_timeout), work)


class _Getter:
    def __init__(self, session: Session, wish: _Wish) -> None:
        self._session = session
        self._wish = wish
        self._failed = 0
        self._complaints: list[str] = []

    async def show(self, selected: list[Selected]) -> int:
        """Prints everything that was asked for; the code says whether something was missing."""
        if self._wish.format.is_table:
            await self._show_tables(selected)
        else:
            await self._show_objects(selected)
        sys.stdout.flush()
        for complaint in self._complaints:
            print(complaint, file=sys.stderr)
        return self._failed

    async def follow(self, selected: Selected) -> int:
        """Prints what is there and every change of it. Ends only by Ctrl-C."""
        from swarmkeep.cli.tables import Table, follow_table
        from swarmkeep.errors import Unavailable
        from swarmkeep.kube.answers import Gone

        question = self._question(selected.resource, whole=not self._wish.format.is_table)
        if selected.names:
            await self._session.client.get(selected.resource.kind, selected.names[0], question.namespace)
            question = self._question(
                selected.resource, f"metadata.name={selected.names[0]}", whole=not self._wish.format.is_table
            )
        table, columns = await self._listed(question), None
        columns = self._print_table(selected.resource, table, columns, titled=False)
        while True:
            try:
                async for _, news in follow_table(self._session.client, question, table):
                    columns = self._print_table(selected.resource, news, columns, titled=False)
                    table = Table(news.columns, (), news.resource_version or table.resource_version)
            except Gone:
                table = await self._listed(question)
                columns = self._print_table(selected.resource, table, columns, titled=False)
            except Unavailable as error:
                print(f"Warning: {error}; trying again", file=sys.stderr)
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _listed(self, question: Question) -> Table:
        from swarmkeep.cli.tables import fetch_table

        return await fetch_table(self._session.client, question)

    async def _show_tables(self, selected: list[Selected]) -> None:
        printed = 0
        for one in selected:
            table = await self._table(one)
            if table is None or not table.rows:
                continue
            if printed:
                print()
            self._print_table(one.resource, table, None, titled=len(selected) > 1)
            printed += 1
        if not printed and not self._failed and not (self._wish.ignore_not_found and any(s.names for s in selected)):
            namespaced = any(one.resource.kind.namespaced for one in selected)
            where = f" in {self._session.namespace} namespace" if namespaced and not self._wish.everywhere else ""
            print(f"No resources found{where}.", file=sys.stderr)

    async def _table(self, one: Selected) -> Table | None:
        from swarmkeep.cli.tables import Table, fetch_row, fetch_table

        question = self._question(one.resource, whole=bool(self._wish.sort_by))
        if not one.names:
            return await fetch_table(self._session.client, question)
        found = [
            table
            for name in one.names
            if (table := await self._or_complain(fetch_row(self._session.client, question, name))) is not None
        ]
        return Table(found[0].columns, tuple(row for table in found for row in table.rows)) if found else None

    async def _show_objects(self, selected: list[Selected]) -> None:
        from swarmkeep.cli.printing import as_list, render_objects

        found: list[tuple[Resource, dict[str, Any]]] = []
        for one in selected:
            found += [(one.resource, obj) for obj in await self._objects(one)]
        if self._wish.sort_by:
            found.sort(key=lambda pair: self._sort_key(pair[1]))
        single = len(selected) == 1 and len(selected[0].names) == 1
        if single and not found:
            return
        objects = [obj for _, obj in found]
        titles = [f"{resource.title}/{obj['metadata']['name']}" for resource, obj in found]
        value = objects[0] if single else as_list(objects)
        if self._wish.format.form == "custom-columns":
            self._print_custom(objects)
        else:
            sys.stdout.write(render_objects(value, self._wish.format, titles))

    async def _objects(self, one: Selected) -> list[dict[str, Any]]:
        from swarmkeep.cli.printing import without_managed_fields

        client, question = self._session.client, self._question(one.resource)
        if one.names:
            fetched = [
                obj
                for name in one.names
                if (obj := await self._or_complain(client.get(one.resource.kind, name, question.namespace))) is not None
            ]
        else:
            listed = await client.list(
                one.resource.kind, question.namespace, labels=self._wish.labels, fields=self._wish.fields
            )
            fetched = listed.items
        return fetched if self._wish.managed_fields else [without_managed_fields(obj) for obj in fetched]

    async def _or_complain(self, asking: Any) -> Any:
        """The result, or None when the object is not there; that is said at the end."""
        from swarmkeep.cli.failures import explain_failure
        from swarmkeep.errors import NotFound

        try:
            return await asking
        except NotFound as error:
            if not self._wish.ignore_not_found:
                self._complaints.append(explain_failure(error))
                self._failed = error.exit_code
            return None

    def _question(self, resource: Resource, fields: str = "", *, whole: bool = False) -> Question:
        from swarmkeep.cli.tables import Question

        namespaced = resource.kind.namespaced and not self._wish.everywhere
        return Question(
            resource,
            self._session.namespace if namespaced else None,
            self._wish.labels,
            fields or self._wish.fields,
            whole,
        )

    def _print_table(
        self, resource: Resource, table: Table, columns: Columns | None, *, titled: bool
    ) -> Columns | None:
        """Prints rows under headers; with a format that is no table, the rows' objects."""
        from swarmkeep.cli.printing import Columns, Form, render_objects, without_managed_fields

        wish = self._wish
        if not table.rows:
            return columns
        if not wish.format.is_table:
            for row in table.rows:
                obj = dict(row.object) if wish.managed_fields else without_managed_fields(row.object)
                if wish.format.form is Form.COLUMNS:
                    self._print_custom([obj])
                    continue
                separator = "---\n" if wish.format.form is Form.YAML and columns is not None else ""
                sys.stdout.write(separator + render_objects(obj, wish.format, [f"{resource.title}/{row.name}"]))
                sys.stdout.flush()
                columns = Columns([])
            return columns
        rows = list(table.rows)
        if wish.sort_by:
            rows.sort(key=lambda row: self._sort_key(row.object))
        shows_namespace = wish.everywhere and resource.kind.namespaced
        if columns is None:
            columns = Columns(self._headers(table, shows_namespace), show_headers=not wish.no_headers)
        columns.print([self._cells(resource, table, row, shows_namespace, titled) for row in rows])
        return columns

    def _headers(self, table: Table, shows_namespace: bool) -> list[str]:
        return [
            *(["NAMESPACE"] if shows_namespace else []),
            *table.headers(wide=self._wish.format.form == "wide"),
            *(label.rpartition("/")[2].upper() for label in self._wish.label_columns),
            *(["LABELS"] if self._wish.show_labels else []),
        ]

    def _cells(self, resource: Resource, table: Table, row: Row, shows_namespace: bool, titled: bool) -> list[str]:
        from swarmkeep.cli.printing import MISSING

        labels = row.object.get("metadata", {}).get("labels") or {}
        cells = table.texts(row, wide=self._wish.format.form == "wide")
        if titled:
            cells[0] = f"{resource.title}/{cells[0]}"
        return [
            *([row.namespace] if shows_namespace else []),
            *cells,
            *(str(labels.get(label, "")) for label in self._wish.label_columns),
            *([",".join(f"{k}={v}" for k, v in sorted(labels.items())) or MISSING] if self._wish.show_labels else []),
        ]

    def _print_custom(self, objects: list[dict[str, Any]]) -> None:
        from swarmkeep.cli.jsonpath import as_text
        from swarmkeep.cli.printing import MISSING, Columns, custom_columns

        headers, paths = custom_columns(self._wish.format.argument)
        rows = [[",".join(as_text(v) for v in path(obj)) or MISSING for path in paths] for obj in objects]
        Columns(headers, show_headers=not self._wish.no_headers).print(rows)

    def _sort_key(self, obj: Any) -> tuple[int, float, str]:
        """Numbers before texts; objects without the field first."""
        from swarmkeep.cli.jsonpath import as_text, compile_path

        found = compile_path(self._wish.sort_by)(obj)
        if not found or found[0] is None:
            return (0, 0.0, "")
        if isinstance(found[0], int | float) and not isinstance(found[0], bool):
            return (1, float(found[0]), "")
        return (2, 0.0, as_text(found[0]))

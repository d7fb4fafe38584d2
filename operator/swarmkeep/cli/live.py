"""One kind's table that follows the API: the rows of `swarmkeep watch`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from swarmkeep.cli.printing import BAD, GOOD, PASSING
from swarmkeep.cli.resources import Resource
from swarmkeep.cli.tables import Question, Row, Table, fetch_table, follow_table
from swarmkeep.errors import Unavailable
from swarmkeep.kube.answers import Gone
from swarmkeep.kube.backoff import Backoff
from swarmkeep.kube.client import Client

if TYPE_CHECKING:
    from rich.console import RenderableType

OnChange = Callable[["LiveTable", str, list[str]], None]

REFRESH_S = 5.0
"""Cells with ages are computed by the server: they are asked for again this often."""


PAUSE_S = 0.2
"""Between two streams."""


class LiveTable:
    """Rows by namespace and name, as the API last showed them."""

    def __init__(self, client: Client, resource: Resource, namespace: str | None, labels: str, *, wide: bool) -> None:
        self.resource = resource
        self._client = client
        self._question = Question(resource, namespace, labels)
        self._wide = wide
        self._table = Table((), ())
        self._rows: dict[tuple[str, str], Row] = {}
        self._trouble = ""
        self._listed_at = 0.0

    async def refresh(self) -> None:
        """Lists everything anew."""
        self._table = await fetch_table(self._client, self._question)
        self._rows = {(row.namespace, row.name): row for row in self._table.rows}
        self._trouble = ""
        self._listed_at = time.monotonic()

    async def follow(self, on_change: OnChange | None = None) -> None:
        """Keeps the rows true for ever; an outage is shown and waited out, and what changed in it is told after it."""
        pauses = Backoff(0.2, 5.0)
        while True:
            try:
                async with asyncio.timeout(REFRESH_S if on_change is None else None):
                    await self._take(on_change)
            except TimeoutError:
                await self._refresh_or_note()
            except Gone:
                await self._refresh_or_note(on_change)
            except Unavailable as error:
                self._trouble = str(error)
            if self._trouble:
                await asyncio.sleep(pauses.next_s())
                await self._refresh_or_note(on_change)
            else:
                pauses.reset()
                await asyncio.sleep(PAUSE_S)  # a server that ends streams at once must not become a busy loop

    async def _take(self, on_change: OnChange | None) -> None:
        async for event, table in follow_table(self._client, self._question, self._table):
            self._table = Table(table.columns, (), table.resource_version or self._table.resource_version)
            for row in table.rows:
                key = (row.namespace, row.name)
                if event == "DELETED":
                    self._rows.pop(key, None)
                else:
                    self._rows[key] = row
                if on_change is not None:
                    on_change(self, event, self._cells(row))

    async def _refresh_or_note(self, on_change: OnChange | None = None) -> None:
        before = self._rows
        try:
            await self.refresh()
        except Unavailable as error:
            self._trouble = str(error)
            return
        if on_change is None:
            return
        for key in sorted(before.keys() | self._rows.keys()):
            old, new = before.get(key), self._rows.get(key)
            if new is None:
                on_change(self, "DELETED", self._cells(before[key]))
            elif old is None or old.version != new.version:
                on_change(self, "ADDED" if old is None else "MODIFIED", self._cells(new))

    def rows(self) -> list[list[str]]:
        """All rows' visible cells, in order."""
        return [self._cells(row) for _, row in sorted(self._rows.items())]

    def _cells(self, row: Row) -> list[str]:
        cells = self._table.texts(row, wide=self._wide)
        return [row.namespace, *cells] if self._shows_namespace else cells

    @property
    def _shows_namespace(self) -> bool:
        return self.resource.kind.namespaced and self._question.namespace is None

    def render(self) -> RenderableType:
        """The table for a terminal, with a line of trouble below it when the API is away."""
        from rich import box
        from rich.console import Group
        from rich.table import Table as RichTable
        from rich.text import Text

        shown = RichTable(
            box=box.SIMPLE_HEAD, title=self.resource.kind.plural, title_justify="left", title_style="bold"
        )
        headers = self._table.headers(wide=self._wide)
        for header in [*(["NAMESPACE"] if self._shows_namespace else []), *headers]:
            shown.add_column(header, no_wrap=True)
        for cells in self.rows():
            shown.add_row(*(Text(cell, style=_style(cell)) for cell in cells))
        if not self._rows:
            shown.caption = "none"
        if not self._trouble:
            return shown
        age = f"{time.monotonic() - self._listed_at:.0f}s"
        return Group(shown, Text(f"the API is away, this is {age} old: {self._trouble}", style="bold red"))


def _style(cell: str) -> str:
    return "green" if cell in GOOD else "red" if cell in BAD else "yellow" if cell in PASSING else ""

"""`swarmkeep watch`: workloads and policies as a table that stays true, until Ctrl-C; plain lines when piped."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from swarmkeep.cli.completing import objects
from swarmkeep.cli.options import ContextName, Kubeconfig, Namespace, Options, RequestTimeout
from swarmkeep.cli.session import Session, run

if TYPE_CHECKING:
    from rich.console import RenderableType

    from swarmkeep.cli.live import LiveTable


def watch(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[KIND,...]", help="What to show.", autocompletion=objects)
    ] = None,
    labels: Annotated[str, typer.Option("--selector", "-l", help="Only objects with these labels.")] = "",
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="All columns.")] = False,
    namespace: Namespace = None,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Shows policies and workloads, or what you name, and keeps the picture true until Ctrl-C.

    Example: swarmkeep watch -n shop
    """
    from swarmkeep.errors import InvalidObject

    async def work(session: Session) -> int:
        from swarmkeep.cli.live import LiveTable

        selected = session.catalogue.select(what or ["checkpointpolicies,workloads"])
        if any(one.names for one in selected):
            raise InvalidObject("watch shows whole kinds: for one object there is `get KIND NAME --watch`")
        tables = [
            LiveTable(
                session.client,
                one.resource,
                session.namespace if one.resource.kind.namespaced and not everywhere else None,
                labels,
                wide=wide,
            )
            for one in selected
        ]
        for table in tables:
            # A wrong selector or a missing right is said now, and not tried for ever.
            await table.refresh()
        await (_draw(tables) if sys.stdout.isatty() else _print(tables))
        return 0

    run(Options(namespace, context, kubeconfig, request_timeout), work)


async def _draw(tables: list[LiveTable]) -> None:
    """Redraws the terminal with every change, and each second since ages grow."""
    from rich.console import Group
    from rich.live import Live

    def picture() -> RenderableType:
        return Group(*(table.render() for table in tables))

    following = [asyncio.create_task(table.follow()) for table in tables]
    try:
        with Live(picture(), auto_refresh=False, screen=True, vertical_overflow="crop") as live:
            while True:
                for task in following:
                    if task.done():
                        task.result()
                live.update(picture(), refresh=True)
                await asyncio.sleep(1.0)
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)


async def _print(tables: list[LiveTable]) -> None:
    """One line for each change, with the time and the kind before the columns."""
    from datetime import UTC, datetime

    def line(table: LiveTable, event: str, cells: list[str]) -> None:
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        shown = (cell or "-" for cell in cells)
        print(stamp, event.lower(), table.resource.singular, *shown, sep="  ", flush=True)

    for table in tables:
        for cells in table.rows():
            line(table, "PRESENT", cells)
    async with asyncio.TaskGroup() as group:
        for table in tables:
            group.create_task(table.follow(line))

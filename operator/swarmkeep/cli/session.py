"""A verb's connection to the API: kubeconfig, namespace, time limit, catalogue of kinds."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from swarmkeep.cli.options import FIELD_MANAGER, Options

if TYPE_CHECKING:
    from swarmkeep.cli.resources import Catalogue
    from swarmkeep.kube.client import Client


@dataclass(frozen=True, slots=True)
class Session:
    """An open connection."""

    client: Client
    namespace: str
    """What -n said, else the context, else `default`."""
    namespace_given: bool
    """Whether -n was given: then a file must not say another."""
    catalogue: Catalogue


def run(options: Options, work: Callable[[Session], Awaitable[int]]) -> None:
    """Opens a session, does `work` with it and ends the command with the code that it returns, unless that is 0."""

    import asyncio

    async def whole() -> int:
        async with open_session(options) as session:
            return await work(session)

    if code := asyncio.run(whole()):
        raise typer.Exit(code)


@asynccontextmanager
async def open_session(options: Options) -> AsyncIterator[Session]:
    """Raises InvalidObject for a kubeconfig that is wrong, Unavailable when no server answers."""
    from swarmkeep.cli.resources import discover

    client, namespace = connect(options)
    async with client:
        yield Session(client, namespace, options.namespace is not None, await discover(client))


def connect(options: Options) -> tuple[Client, str]:
    """A client that nothing was asked of yet, and the namespace to work in."""
    # Imported here: an HTTP client costs more time than most commands, and not every command needs it.
    from swarmkeep.kube.connect import client_from_context
    from swarmkeep.kube.kubeconfig import kubeconfig_paths, load_context
    from swarmkeep.model.quantity import parse_duration

    paths = kubeconfig_paths(options.kubeconfig)
    context = load_context(paths, options.context, must_exist=options.kubeconfig is not None)
    timeout_s = parse_duration(options.request_timeout).total_seconds()
    client = client_from_context(context, timeout_s=timeout_s, field_manager=FIELD_MANAGER)
    client.transport.on_warning = lambda text: print(f"Warning: {text}", file=sys.stderr)
    return client, options.namespace or context.namespace

"""`swarmkeep version`: of this command, and of the API server."""

from __future__ import annotations

from typing import Annotated

import typer

from swarmkeep import __version__
from swarmkeep.cli.options import ContextName, Kubeconfig, Options, RequestTimeout


def version(
    client: Annotated[bool, typer.Option("--client", help="Only of this command; asks no server.")] = False,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Prints the versions of this command and of the API server.

    Example: swarmkeep version --client
    """
    print(f"Client Version: {__version__}")
    if not client:
        print(f"Server Version: {_server_version(Options(None, context, kubeconfig, request_timeout))}")


def _server_version(options: Options) -> str:
    import asyncio

    from swarmkeep.cli.session import connect

    async def ask() -> str:
        client, _ = connect(options)
        async with client:
            answer = await client.transport.request("GET", "/version", repeatable=True)
        # Kubernetes' own field says which of its APIs is spoken; ours stands beside it.
        ours = answer.body.get("swarmkeepVersion")
        spoken = answer.body.get("gitVersion", "unknown")
        return f"{ours} (speaks Kubernetes {spoken})" if ours else str(spoken)

    return asyncio.run(ask())

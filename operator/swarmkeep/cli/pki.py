"""`swarmkeep pki`: the certificates without which nothing talks to anything."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Makes certificate authorities, certificates and kubeconfigs.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder that holds the authorities.")]
RoleName = Annotated[str, typer.Option("--role", help="admin, operator, agent, apiserver, etcd-server or etcd-client.")]
Days = Annotated[int, typer.Option("--days", help="How long the certificate is valid.")]


@app.command()
def init(folder: Folder) -> None:
    """Makes the two authorities: one for the API, one for etcd. Those that are there stay.

    Example: swarmkeep pki init ./pki
    """
    from swarmkeep.pki import authority

    for path in authority.init(folder):
        print(path)


@app.command()
def issue(
    folder: Folder,
    role: RoleName,
    name: Annotated[str, typer.Option("--name", help="The user's name; an agent's is its node's.")],
    host: Annotated[
        list[str] | None, typer.Option("--host", help="A name or address that a server is called by; may be repeated.")
    ] = None,
    days: Days = 365,
) -> None:
    """Signs a certificate and prints where it and its key are. Issuing it again renews it.

    Example: swarmkeep pki issue ./pki --role apiserver --name n1 --host 10.0.0.1 --host n1
    """
    from swarmkeep.pki import authority

    for path in authority.issue(folder, role, name, host or (), days):
        print(path)


@app.command()
def kubeconfig(
    folder: Folder,
    server: Annotated[
        list[str], typer.Option("--server", help="URL of an API server; further ones are fallen back to.")
    ],
    name: Annotated[str, typer.Option("--name", help="The user's name.")],
    role: RoleName = "admin",
    days: Days = 365,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; else it is printed.")
    ] = None,
) -> None:
    """Makes a kubeconfig for kubectl and swarmkeep, with a certificate of its own inside.

    Example: swarmkeep pki kubeconfig ./pki --server https://10.0.0.1:6443 --name me --output ~/.kube/config
    """
    from swarmkeep.errors import HostError
    from swarmkeep.pki import authority
    from swarmkeep.pki.kubeconfig import render

    certificate, key = authority.issue(folder, role, name, (), days)
    text = render(server, folder / "ca.crt", certificate, key, name)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        # It holds a key: never readable by others, not even for an instant.
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise HostError(f"{output} exists: write to another file, or merge with KUBECONFIG={output}:OTHER") from None
    except OSError as error:
        raise HostError(f"cannot write {output}: {error.strerror}") from None

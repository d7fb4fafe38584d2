"""Options that several verbs share, in the form that typer reads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

FIELD_MANAGER = "swarmkeep-cli"
"""In whose name this command sets fields."""

Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="The namespace; by default the context's, else `default`.")
]
ContextName = Annotated[str | None, typer.Option("--context", help="The context of the kubeconfig to use.")]
Kubeconfig = Annotated[
    Path | None, typer.Option("--kubeconfig", help="The kubeconfig; by default $KUBECONFIG, else ~/.kube/config.")
]
RequestTimeout = Annotated[
    str, typer.Option("--request-timeout", help="The longest that one request may take, for example 10s.")
]
Files = Annotated[
    list[str] | None,
    typer.Option("--filename", "-f", help="A file, a folder, or - for standard input; may be repeated."),
]
Recursive = Annotated[bool, typer.Option("--recursive", "-R", help="Look into folders' folders, too.")]


@dataclass(frozen=True, slots=True)
class Options:
    """How the user wants to reach the API."""

    namespace: str | None
    context: str | None
    kubeconfig: Path | None
    request_timeout: str


class DryRun(StrEnum):
    """Whether anything is stored."""

    NONE = "none"
    SERVER = "server"
